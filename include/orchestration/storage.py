"""S3 as the tasks use it: whole small documents, listings, files, and server-side copies. URIs in, URIs out."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from pathlib import Path
from typing import IO, Any

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from botocore.exceptions import ClientError

from include.orchestration.listing import list_objects
from include.scoring.plan import S3Object
from include.scoring.s3uri import split
from sagemaker_jobs.aws import client_of

#: Most keys in one DeleteObjects.
DELETED_AT_ONCE = 1000


class DeleteError(Exception):
    """S3 did not delete what it was asked to; most often a permission is missing."""


def is_gone(error: BaseException) -> bool:
    """Whether S3 has answered that there is no such object."""
    return isinstance(error, ClientError) and error.response["Error"]["Code"] in {"NoSuchKey", "404"}


@dataclass(frozen=True, slots=True)
class Stored:
    """An object as it was at one moment: its bytes, its ETag with the quotes, and when S3 took it."""

    content: bytes
    etag: str
    written: datetime


class Storage:
    """One client for one task; every method takes full `s3://` URIs."""

    def __init__(self, aws_conn_id: str | None, region: str | None = None) -> None:
        self.client = client_of(S3Hook(aws_conn_id=aws_conn_id, region_name=region))

    @property
    def region(self) -> str:
        """The region of the pipeline or its connection, which is that of all clients that are made in this way."""
        return str(self.client.meta.region_name)

    def objects(self, prefix: str) -> Iterator[S3Object]:
        """The objects below a raw string prefix, in key order, without the empty ones that consoles make as folders."""
        bucket, key = split(prefix)
        return (each for each in list_objects(self.client, bucket, key) if each.size or each.key[-1] != "/")

    def uris(self, prefix: str) -> list[str]:
        """Full URIs of the objects below a prefix."""
        bucket = split(prefix)[0]
        return [f"s3://{bucket}/{each.key}" for each in self.objects(prefix)]

    def folders(self, prefix: str) -> list[str]:
        """Full URIs, each ending in `/`, of the folders directly below a prefix that ends in `/`, in order."""
        bucket, key = split(prefix)
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=bucket, Prefix=key, Delimiter="/"
        )
        return [
            f"s3://{bucket}/{each['Prefix']}" for page in pages for each in page.get("CommonPrefixes", ())
        ]

    def written(self, prefix: str) -> Iterator[tuple[str, datetime]]:
        """Full URI of every key below a prefix, consoles' folders too, and when it was last written; in key order."""
        bucket = split(prefix)[0]
        return ((f"s3://{bucket}/{entry['Key']}", entry["LastModified"]) for entry in self._entries(prefix))

    def etag(self, uri: str) -> str | None:
        """The ETag of an object, with its quotes; None when there is no such object."""
        key = split(uri)[1]
        return next((str(entry["ETag"]) for entry in self._entries(uri) if entry["Key"] == key), None)

    def _entries(self, prefix: str) -> Iterator[Mapping[str, Any]]:
        bucket, key = split(prefix)
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key):
            yield from page.get("Contents", ())

    def read(self, uri: str) -> bytes:
        """The whole object."""
        bucket, key = split(uri)
        content: bytes = self.client.get_object(Bucket=bucket, Key=key)["Body"].read()
        return content

    def read_json(self, uri: str) -> Any:
        """The object as JSON."""
        return json.loads(self.read(uri))

    def write(self, uri: str, content: str | bytes, *, content_type: str = "application/json") -> None:
        """Put a whole small object."""
        bucket, key = split(uri)
        body = content.encode() if isinstance(content, str) else content
        self.client.put_object(Bucket=bucket, Key=key, Body=body, ContentType=content_type)

    def write_json(self, uri: str, document: Any) -> None:
        """Put a JSON document, indented for people."""
        self.write(uri, json.dumps(document, indent=2, ensure_ascii=False) + "\n")

    def current(self, uri: str) -> tuple[Any, str] | None:
        """A JSON document and the ETag it has now, or None when there is no such object."""
        stored = self.read_stored(uri)
        return None if stored is None else (json.loads(stored.content), stored.etag)

    def read_stored(self, uri: str) -> Stored | None:
        """The whole object with its ETag and its time, or None when there is no such object.

        A listing tells: S3 answers 403, not 404, about an absent object to a role that may list some prefixes only.
        """
        if self.etag(uri) is None:
            return None
        bucket, key = split(uri)
        try:
            answer = self.client.get_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if is_gone(error):
                return None
            raise
        return Stored(answer["Body"].read(), answer["ETag"], answer["LastModified"])

    def commit_json(self, uri: str, document: Mapping[str, Any], *, replacing: str | None) -> str | None:
        """`commit` of a JSON document, indented for people."""
        content = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        return self.commit(uri, content, replacing=replacing)

    def commit(
        self, uri: str, content: str, *, replacing: str | None, content_type: str = "application/json"
    ) -> str | None:
        """Put a whole small object only if it still has the ETag `replacing` (None: only if there is none yet).

        Returns the ETag it has now, or None, and writes nothing, when somebody else was first. A PUT that is repeated
        because its answer was lost is refused because of itself: what lies there then is what was to be written.

        Raises:
            ClientError: S3 refused it; with ConditionalRequestConflict, because another PUT is under way, which may be
                this one's own first, and has not changed the object yet.
        """
        bucket, key = split(uri)
        condition = {"IfNoneMatch": "*"} if replacing is None else {"IfMatch": replacing}
        try:
            answer = self.client.put_object(
                Bucket=bucket, Key=key, Body=content.encode(), ContentType=content_type, **condition
            )
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code not in {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"}:
                raise
            stored = self.read_stored(uri)
            if stored is not None and stored.content == content.encode():
                return stored.etag
            now = None if stored is None else stored.etag
            if code == "ConditionalRequestConflict" and now == replacing:
                raise
            return None
        return str(answer["ETag"])

    def download(self, uri: str, path: Path) -> Path:
        """Copy the object to a local file, in parallel parts."""
        bucket, key = split(uri)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.client.download_file(bucket, key, str(path))
        return path

    def upload(self, path: Path, uri: str) -> None:
        """Copy a local file to the object, in parallel parts."""
        bucket, key = split(uri)
        self.client.upload_file(str(path), bucket, key)

    def upload_stream(self, stream: IO[bytes], uri: str) -> None:
        """Copy what the stream gives to the object, in parallel parts, each sent as soon as it is there."""
        bucket, key = split(uri)
        self.client.upload_fileobj(stream, bucket, key)

    def upload_tree(self, files: Iterable[Path], root: Path, prefix: str) -> None:
        """Copy files below `root` to the same relative keys below `prefix`."""
        for path in files:
            self.upload(path, f"{prefix}{path.relative_to(root).as_posix()}")

    def copy(self, source: str, target: str, *, etag: str | None = None) -> None:
        """Copy within S3; no byte passes through here. Objects above 5 GB go in parts.

        With an `etag`, only if that is the source's: S3 answers PreconditionFailed else.
        """
        from_bucket, from_key = split(source)
        to_bucket, to_key = split(target)
        only = {} if etag is None else {"CopySourceIfMatch": f'"{etag}"'}
        self.client.copy({"Bucket": from_bucket, "Key": from_key}, to_bucket, to_key, ExtraArgs=only)

    def head(self, uri: str) -> Mapping[str, Any]:
        """Size and ETag of an object."""
        bucket, key = split(uri)
        answer = self.client.head_object(Bucket=bucket, Key=key)
        return {"size": answer["ContentLength"], "etag": answer["ETag"].strip('"')}

    def delete(self, uris: Iterable[str]) -> None:
        """Delete objects, a thousand with each call; those that are gone already do not matter.

        Raises:
            DeleteError: S3 kept some; those of the same call that it let go are gone.
        """
        for bucket, places in itertools.groupby(map(split, uris), key=itemgetter(0)):
            while keys := [key for _, key in itertools.islice(places, DELETED_AT_ONCE)]:
                wanted = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
                errors = self.client.delete_objects(Bucket=bucket, Delete=wanted).get("Errors", [])
                if errors:
                    first = errors[0]
                    raise DeleteError(
                        f"{len(errors)} of {len(keys)} objects were not deleted; the first is "
                        f"s3://{bucket}/{first.get('Key')}: {first.get('Code')}, {first.get('Message')}"
                    )
