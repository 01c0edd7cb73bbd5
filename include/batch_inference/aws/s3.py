"""The tasks' access to S3: small objects, listings, files and server-side copies, all by `s3://` URI."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from pathlib import Path
from typing import IO, Any

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from botocore.config import Config
from botocore.exceptions import ClientError

from batch_inference.aws.object_listing import list_objects
from batch_inference.common.s3_uri import split_s3_uri
from batch_inference.planning.inputs.input_listing import S3Object
from sagemaker_jobs.aws import get_client

#: Most keys of one DeleteObjects call.
MAX_DELETED_KEYS = 1000


class DeleteError(Exception):
    """S3 did not delete some objects; most often a permission is missing."""


def is_not_found(error: BaseException) -> bool:
    """Whether S3 answered that the object does not exist."""
    return isinstance(error, ClientError) and error.response["Error"]["Code"] in {"NoSuchKey", "404"}


def is_changed(error: ClientError) -> bool:
    """Whether S3 answered that the object does not have the ETag of the request."""
    return error.response["Error"]["Code"] in {"PreconditionFailed", "412"}


def to_bucket_and_key(uri: str) -> dict[str, str]:
    """The Bucket and Key of a request for the object at `uri`."""
    return dict(zip(("Bucket", "Key"), split_s3_uri(uri), strict=True))


@dataclass(frozen=True, slots=True)
class ObjectSnapshot:
    """An object as it was when it was read: its bytes, its ETag with the quotes, and its LastModified."""

    content: bytes
    etag: str
    last_modified: datetime


class Storage:
    """One client for one task; every method takes full `s3://` URIs."""

    def __init__(
        self, aws_conn_id: str | None, region: str | None = None, *, config: Config | None = None
    ) -> None:
        self.client = get_client(S3Hook(aws_conn_id=aws_conn_id, region_name=region, config=config))

    @property
    def region(self) -> str:
        """The region of the pipeline or of its connection, which all clients of the run use."""
        return str(self.client.meta.region_name)

    def list_objects(self, prefix: str) -> Iterator[S3Object]:
        """The objects below a raw string prefix, in key order, without the console's empty folder objects."""
        bucket, key = split_s3_uri(prefix)
        return (each for each in list_objects(self.client, bucket, key) if each.size or each.key[-1] != "/")

    def list_uris(self, prefix: str) -> list[str]:
        """Full URIs of the objects below a prefix."""
        bucket = split_s3_uri(prefix)[0]
        return [f"s3://{bucket}/{each.key}" for each in self.list_objects(prefix)]

    def list_folders(self, prefix: str) -> list[str]:
        """Full URIs, each ending in `/`, of the folders directly below a prefix that ends in `/`, in order."""
        bucket, key = split_s3_uri(prefix)
        paginator = self.client.get_paginator("list_objects_v2")
        found = paginator.paginate(Bucket=bucket, Prefix=key, Delimiter="/").search("CommonPrefixes[].Prefix")
        return [f"s3://{bucket}/{folder}" for folder in found if folder is not None]

    def list_write_times(self, prefix: str) -> Iterator[tuple[str, datetime]]:
        """URI and LastModified of every key below a prefix, the console's folders included, in key order."""
        bucket, entries = split_s3_uri(prefix)[0], self._list_entries(prefix)
        return ((f"s3://{bucket}/{entry['Key']}", entry["LastModified"]) for entry in entries)

    def read_etag(self, uri: str) -> str | None:
        """The ETag of an object, with its quotes; None when it does not exist."""
        key = split_s3_uri(uri)[1]
        return next((str(entry["ETag"]) for entry in self._list_entries(uri) if entry["Key"] == key), None)

    def _list_entries(self, prefix: str) -> Iterator[Mapping[str, Any]]:
        bucket, key = split_s3_uri(prefix)
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key):
            yield from page.get("Contents", ())

    def get(self, uri: str, *, etag: str | None = None, **request: str) -> Any:
        """GetObject's response; with an `etag`, which has no quotes, only if that is the object's."""
        condition = {} if etag is None else {"IfMatch": f'"{etag}"'}
        return self.client.get_object(**to_bucket_and_key(uri), **condition, **request)

    def read(self, uri: str) -> bytes:
        """The whole object."""
        content: bytes = self.get(uri)["Body"].read()
        return content

    def read_json(self, uri: str) -> Any:
        """The object as JSON."""
        return json.loads(self.read(uri))

    def write(self, uri: str, content: str | bytes, *, content_type: str = "application/json") -> None:
        """Put a whole small object."""
        body = content.encode() if isinstance(content, str) else content
        self.client.put_object(**to_bucket_and_key(uri), Body=body, ContentType=content_type)

    def write_json(self, uri: str, document: Any) -> None:
        """Put a JSON document, indented."""
        self.write(uri, json.dumps(document, indent=2, ensure_ascii=False) + "\n")

    def read_json_with_etag(self, uri: str) -> tuple[Any, str] | None:
        """A JSON document and its ETag; None when it does not exist."""
        stored = self.read_snapshot(uri)
        return None if stored is None else (json.loads(stored.content), stored.etag)

    def read_snapshot(self, uri: str) -> ObjectSnapshot | None:
        """The whole object with its ETag and LastModified; None when it does not exist.

        A listing decides that: S3 answers 403 in place of 404 to a role that may list only some prefixes.
        """
        if self.read_etag(uri) is None:
            return None
        try:
            answer = self.get(uri)
        except ClientError as error:
            if is_not_found(error):
                return None
            raise
        return ObjectSnapshot(answer["Body"].read(), answer["ETag"], answer["LastModified"])

    def write_json_conditionally(
        self, uri: str, document: Mapping[str, Any], *, expected_etag: str | None
    ) -> str | None:
        """`write_conditionally` for a JSON document, indented."""
        content = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        return self.write_conditionally(uri, content, expected_etag=expected_etag)

    def write_conditionally(
        self, uri: str, content: str, *, expected_etag: str | None, content_type: str = "application/json"
    ) -> str | None:
        """Put a small object only if its ETag still is `expected_etag` (None: only if it does not exist yet).

        Returns the new ETag; None, without writing, when another writer was first. A retried PUT may be refused because
        its first attempt succeeded: an object with the same content counts as written.

        Raises:
            ClientError: S3 refused it; with ConditionalRequestConflict, another PUT is in progress, maybe this call's
                own first attempt, and has not changed the object yet.
        """
        condition = {"IfNoneMatch": "*"} if expected_etag is None else {"IfMatch": expected_etag}
        request = {**to_bucket_and_key(uri), "Body": content.encode(), "ContentType": content_type}
        try:
            answer = self.client.put_object(**request, **condition)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code not in {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"}:
                raise
            stored = self.read_snapshot(uri)
            if stored is not None and stored.content == request["Body"]:
                return stored.etag
            now = None if stored is None else stored.etag
            if code == "ConditionalRequestConflict" and now == expected_etag:
                raise
            return None
        return str(answer["ETag"])

    def download(self, uri: str, path: Path) -> Path:
        """Copy the object to a local file, in parallel parts."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.client.download_file(*split_s3_uri(uri), str(path))
        return path

    def download_in_one_call(self, uri: str, path: Path, *, etag: str | None = None) -> Path:
        """Copy the object to a local file by one call; see `get` for `etag`."""
        with path.open("wb") as file:
            shutil.copyfileobj(self.get(uri, etag=etag)["Body"], file, 1 << 20)
        return path

    def upload(self, path: Path, uri: str) -> None:
        """Copy a local file to the object, in parallel parts."""
        self.client.upload_file(str(path), *split_s3_uri(uri))

    def upload_stream(self, stream: IO[bytes], uri: str) -> None:
        """Upload a stream to the object, in parallel parts, each sent as soon as it is read."""
        self.client.upload_fileobj(stream, *split_s3_uri(uri))

    def copy(self, source: str, target: str, *, source_etag: str | None = None) -> None:
        """Copy within S3, on the server's side; objects above 5 GB in parts.

        With `source_etag`, only if the source has that ETag; otherwise S3 answers PreconditionFailed.
        """
        condition = {} if source_etag is None else {"CopySourceIfMatch": f'"{source_etag}"'}
        self.client.copy(to_bucket_and_key(source), *split_s3_uri(target), ExtraArgs=condition)

    def head(self, uri: str) -> Mapping[str, Any]:
        """Size and ETag of an object."""
        answer = self.client.head_object(**to_bucket_and_key(uri))
        return {"size": answer["ContentLength"], "etag": answer["ETag"].strip('"')}

    def delete(self, uris: Iterable[str]) -> None:
        """Delete objects, a thousand with each call; missing objects are ignored.

        Raises:
            DeleteError: S3 did not delete some; the others of the same call are deleted.
        """
        for bucket, places in itertools.groupby(map(split_s3_uri, uris), key=itemgetter(0)):
            while keys := [key for _, key in itertools.islice(places, MAX_DELETED_KEYS)]:
                wanted = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
                errors = self.client.delete_objects(Bucket=bucket, Delete=wanted).get("Errors", [])
                if errors:
                    first = errors[0]
                    raise DeleteError(
                        f"{len(errors)} of {len(keys)} objects were not deleted; the first is "
                        f"s3://{bucket}/{first.get('Key')}: {first.get('Code')}, {first.get('Message')}"
                    )
