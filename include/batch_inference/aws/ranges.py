"""Byte ranges of S3 objects: small reads, and server-side copies.

Every call sends the ETag of the plan, so that S3 refuses an object that was overwritten since.
"""

from __future__ import annotations

from pathlib import Path

from botocore.exceptions import ClientError

from batch_inference.aws.s3 import Storage, is_changed, is_not_found, to_bucket_and_key
from batch_inference.common.errors import ReconciliationError
from batch_inference.planning.inputs.input_split import ByteRange


def read_range(storage: Storage, uri: str, etag: str, start: int, end: int) -> bytes:
    """Bytes from `start` up to, not including, `end`. (S3's own ranges include both ends.)

    Raises:
        ReconciliationError: the object is not the one that was planned.
    """
    return _read(storage, uri, etag, Range=f"bytes={start}-{end - 1}")


def read_object(storage: Storage, uri: str, etag: str) -> bytes:
    """The whole object; raises as `read_range`."""
    return _read(storage, uri, etag)


def download_object(storage: Storage, uri: str, etag: str | None, path: Path) -> Path:
    """Download the object; raises as `read_range`. Without an etag, any version of it."""
    try:
        return storage.download_in_one_call(uri, path, etag=etag)
    except ClientError as error:
        raise _translate_error(error, uri) from error


def copy_span(storage: Storage, bucket: str, span: ByteRange, target_uri: str) -> None:
    """Copy a range of an object, or all of it, to an object of its own.

    A range becomes the only part of a multipart upload: the last part may be smaller than the 5 MiB that S3 asks of the
    others.

    Raises:
        ReconciliationError: the object is another one than was planned for.
    """
    source = f"s3://{bucket}/{span.key}"
    if span.is_whole:
        try:
            storage.copy(source, target_uri, source_etag=span.etag)
        except ClientError as error:
            raise _translate_error(error, source) from error
        return
    client, to = storage.client, to_bucket_and_key(target_uri)
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
        raise _translate_error(error, source) from error


def check_etag(storage: Storage, uri: str, etag: str) -> None:
    """Raise ReconciliationError when the object has another ETag now: some S3 servers ignore conditions of a copy."""
    try:
        now = str(storage.head(uri)["etag"])
    except ClientError as error:
        raise _translate_error(error, uri) from error
    if now != etag:
        raise ReconciliationError(_overwritten_message(uri))


def _read(storage: Storage, uri: str, etag: str, **request: str) -> bytes:
    try:
        body: bytes = storage.get(uri, etag=etag, **request)["Body"].read()
    except ClientError as error:
        raise _translate_error(error, uri) from error
    return body


def _translate_error(error: ClientError, uri: str) -> Exception:
    if is_changed(error):
        return ReconciliationError(_overwritten_message(uri))
    if is_not_found(error):
        return ReconciliationError(
            f"{uri} no longer exists, but did when the run was planned; upload it again, or start a new run"
        )
    return error


def _overwritten_message(uri: str) -> str:
    return (
        f"{uri} was overwritten after the run was planned; versions are not mixed; clear `plan` and all "
        f"that follows it, or start a new run"
    )
