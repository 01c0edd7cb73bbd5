"""Byte ranges of S3 objects: small reads, and copies that pass no byte through here.

Every call names the ETag that the plan saw, so that an object that was overwritten meanwhile is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from include.orchestration.storage import Storage, is_gone
from include.scoring.errors import ReconciliationError
from include.scoring.layout import Span
from include.scoring.s3uri import split

_OVERWRITTEN = {"PreconditionFailed", "412"}
_CHUNK = 1 << 20


def read_range(storage: Storage, uri: str, etag: str, start: int, end: int) -> bytes:
    """Bytes `start` to `end`, the latter not included. S3's own ranges include both ends.

    Raises:
        ReconciliationError: the object is another one than was planned for.
    """
    body: bytes = _get(storage, uri, etag, Range=f"bytes={start}-{end - 1}")["Body"].read()
    return body


def read_whole(storage: Storage, uri: str, etag: str) -> bytes:
    """The whole object; raises as `read_range`."""
    body: bytes = _get(storage, uri, etag)["Body"].read()
    return body


def download(storage: Storage, uri: str, etag: str | None, path: Path) -> Path:
    """The object as a local file; raises as `read_range`. Without an etag whatever is there."""
    with path.open("wb") as file:
        for chunk in _get(storage, uri, etag)["Body"].iter_chunks(_CHUNK):
            file.write(chunk)
    return path


def copy_span(storage: Storage, bucket: str, span: Span, target: str) -> None:
    """Copy a range of an object, or all of it, to an object of its own.

    A range becomes the only part of a multipart upload: the last part may be smaller than the 5 MiB that S3 asks of the
    others.

    Raises:
        ReconciliationError: the object is another one than was planned for.
    """
    source = f"s3://{bucket}/{span.key}"
    if span.is_whole:
        try:
            storage.copy(source, target, etag=span.etag)
        except ClientError as error:
            raise _explained(error, source) from error
        return
    client = storage.client
    to: dict[str, Any] = dict(zip(("Bucket", "Key"), split(target), strict=True))
    upload = client.create_multipart_upload(**to)["UploadId"]
    try:
        part = client.upload_part_copy(
            **to,
            UploadId=upload,
            PartNumber=1,
            CopySource={"Bucket": bucket, "Key": span.key},
            CopySourceIfMatch=f'"{span.etag}"',
            CopySourceRange=f"bytes={span.start}-{span.end - 1}",
        )["CopyPartResult"]
        parts = [{"PartNumber": 1, "ETag": part["ETag"]}]
        client.complete_multipart_upload(**to, UploadId=upload, MultipartUpload={"Parts": parts})
    except ClientError as error:
        client.abort_multipart_upload(**to, UploadId=upload)
        raise _explained(error, source) from error


def check_unchanged(storage: Storage, uri: str, etag: str) -> None:
    """Raise ReconciliationError when the object has another ETag now. For an S3 that heeds no condition of a copy."""
    try:
        now = str(storage.head(uri)["etag"])
    except ClientError as error:
        raise _explained(error, uri) from error
    if now != etag:
        raise ReconciliationError(_overwritten(uri))


def _get(storage: Storage, uri: str, etag: str | None, **more: str) -> Any:
    bucket, key = split(uri)
    condition = {} if etag is None else {"IfMatch": f'"{etag}"'}
    try:
        return storage.client.get_object(Bucket=bucket, Key=key, **condition, **more)
    except ClientError as error:
        raise _explained(error, uri) from error


def _explained(error: ClientError, uri: str) -> Exception:
    if error.response["Error"]["Code"] in _OVERWRITTEN:
        return ReconciliationError(_overwritten(uri))
    if is_gone(error):
        return ReconciliationError(
            f"{uri} is gone; it was there when the run was planned; upload it again, or start a new run"
        )
    return error


def _overwritten(uri: str) -> str:
    return (
        f"{uri} was overwritten after the run was planned for it; nothing of a mix is published; clear `plan` and all "
        f"that follows it, or start a new run"
    )
