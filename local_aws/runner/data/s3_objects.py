"""S3 through boto3: addresses, listings, streaming reads that survive a broken connection, whole-or-nothing writes."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

CHUNK_BYTES = 1024 * 1024
PART_BYTES = 8 * 1024 * 1024
READ_ATTEMPTS = 5
S3_ERRORS: tuple[type[ClientError], type[BotoCoreError]] = (ClientError, BotoCoreError)


class BrokenReadError(BotoCoreError):
    """An object cannot be read to its end."""

    fmt = "{address} broke off after {done} bytes: {error}"


@dataclass(frozen=True, slots=True)
class S3Address:
    """A bucket and a key (or the beginning of one)."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, uri: str) -> S3Address:
        parts = urlsplit(uri, allow_fragments=False)
        if parts.scheme != "s3" or not parts.netloc:
            raise ValueError(f"{uri!r} is not an S3 URI; expected s3://bucket/key")
        key = uri.split("://", 1)[1].partition("/")[2]
        return cls(parts.netloc, key)

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True, slots=True)
class ListedObject:
    """An object of a listing: key, bytes."""

    bucket: str
    key: str
    size: int


def make_client(service: str, region: str, endpoint_url: str | None) -> Any:
    """A boto3 client for `endpoint_url`; an embedded endpoint takes any credentials, so some are always given to it."""
    local = {"aws_access_key_id": "local", "aws_secret_access_key": "local"} if endpoint_url else {}
    return boto3.client(  # type: ignore[call-overload]  # the service's name is a variable here
        service,
        region_name=region,
        endpoint_url=endpoint_url,
        config=Config(
            retries={"max_attempts": 6, "mode": "standard"},
            max_pool_connections=64,
            s3={"addressing_style": "path"},
            # The default checksums read each body twice and mean nothing on loopback.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
        **local,
    )


class S3Storage:
    """Access to S3 for a job; one client, shared by all threads."""

    def __init__(self, client: Any, spool_dir: Path) -> None:
        self._client = client
        self._spool_dir = spool_dir

    def list_objects(self, address: S3Address) -> Iterator[ListedObject]:
        """Objects whose key starts with `address.key`, in key order."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=address.bucket, Prefix=address.key
        )
        for page in pages:
            for item in page.get("Contents", []):
                yield ListedObject(address.bucket, item["Key"], item["Size"])

    def head_object(self, address: S3Address) -> ListedObject:
        answer = self._client.head_object(Bucket=address.bucket, Key=address.key)
        return ListedObject(address.bucket, address.key, answer["ContentLength"])

    def read(self, address: S3Address) -> bytes:
        """A small object whole."""
        body: bytes = self._client.get_object(Bucket=address.bucket, Key=address.key)["Body"].read()
        return body

    def stream_object(self, address: S3Address) -> Iterator[bytes]:
        """The object's bytes in pieces of at most 1 MiB. A broken connection is resumed where it broke.

        Raises one of S3_ERRORS; BrokenReadError after five attempts without progress.
        """
        done, attempts, etag = 0, 0, None
        while True:
            extra = {"Range": f"bytes={done}-", "IfMatch": etag} if done else {}
            answer = self._client.get_object(Bucket=address.bucket, Key=address.key, **extra)
            etag, body = answer["ETag"], answer["Body"]
            try:
                with contextlib.closing(body):
                    for piece in body.iter_chunks(CHUNK_BYTES):
                        done += len(piece)
                        attempts = 0
                        yield piece
                return
            except (BotoCoreError, HTTPError, OSError) as error:
                attempts += 1
                if attempts >= READ_ATTEMPTS:
                    raise BrokenReadError(address=address, done=done, error=error) from error

    def download(self, address: S3Address, path: Path) -> int:
        """Writes the object to `path`; returns its bytes."""
        path.parent.mkdir(parents=True, exist_ok=True)
        size = 0
        with path.open("wb") as target:
            for piece in self.stream_object(address):
                size += target.write(piece)
        return size

    def open_writer(self, address: S3Address) -> ObjectWriter:
        return ObjectWriter(self._client, address, self._spool_dir)

    def upload(self, path: Path, address: S3Address) -> int:
        """Writes the file to `address`; returns its bytes."""
        with path.open("rb") as source, self.open_writer(address) as target:
            size = 0
            while piece := source.read(CHUNK_BYTES):
                target.write(piece)
                size += len(piece)
        return size


class ObjectWriter:
    """One object, written from pieces; it appears whole at `close`, or not at all after `abort`.

    As a context manager: closed if the block ends well, else aborted.
    """

    def __init__(self, client: Any, address: S3Address, spool_dir: Path) -> None:
        self._client = client
        self._bucket_and_key = {"Bucket": address.bucket, "Key": address.key}
        self._part = tempfile.SpooledTemporaryFile(CHUNK_BYTES, dir=str(spool_dir))  # noqa: SIM115 (lives on)
        self._upload_id: str | None = None
        self._parts: list[dict[str, Any]] = []
        self.size = 0

    def write(self, piece: bytes) -> None:
        self._part.write(piece)
        self.size += len(piece)
        if self._part.tell() >= PART_BYTES:
            self._send_part()

    def close(self) -> None:
        if self._upload_id is None:
            self._client.put_object(**self._bucket_and_key, Body=self._take_part())
        else:
            if self._part.tell():
                self._send_part()
            self._client.complete_multipart_upload(
                **self._bucket_and_key, UploadId=self._upload_id, MultipartUpload={"Parts": self._parts}
            )
        self._part.close()

    def abort(self) -> None:
        if self._upload_id is not None:
            self._client.abort_multipart_upload(**self._bucket_and_key, UploadId=self._upload_id)
        self._part.close()

    def __enter__(self) -> ObjectWriter:
        return self

    def __exit__(self, kind: object, *_rest: object) -> None:
        self.close() if kind is None else self.abort()

    def _send_part(self) -> None:
        if self._upload_id is None:
            self._upload_id = self._client.create_multipart_upload(**self._bucket_and_key)["UploadId"]
        number = len(self._parts) + 1
        answer = self._client.upload_part(
            **self._bucket_and_key, UploadId=self._upload_id, PartNumber=number, Body=self._take_part()
        )
        self._parts.append({"ETag": answer["ETag"], "PartNumber": number})

    def _take_part(self) -> bytes:
        """The bytes of the part; the next one begins empty."""
        self._part.seek(0)
        part = self._part.read()
        self._part.seek(0)
        self._part.truncate()
        return part
