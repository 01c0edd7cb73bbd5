"""Lists the objects of an S3DataSource and assigns them to hosts."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from local_aws.runner.data.s3_objects import S3_ERRORS, S3Address, S3Storage
from local_aws.runner.failures import ClientFailedError


@dataclass(frozen=True, slots=True)
class InputObject:
    """An object to read; `relative_key` is its key below the input, used for local paths and output keys."""

    bucket: str
    key: str
    relative_key: str
    size: int

    @property
    def address(self) -> S3Address:
        return S3Address(self.bucket, self.key)


def list_input_objects(
    s3: S3Storage, data_type: str, uri: str, *, skip_folder_keys: bool, partial_prefix: str = "last_slash"
) -> list[InputObject]:
    """The objects that S3Prefix or ManifestFile names, sorted by key.

    S3Prefix is a beginning of keys, not a folder; where it names a folder, with a slash at its end or without,
    `relative_key` is what follows that folder. `partial_prefix` is the setting of this name.
    Raises ClientFailedError when nothing is found or the manifest cannot be read.
    """
    try:
        address = S3Address.parse(uri)
        read = _from_manifest if data_type == "ManifestFile" else _from_prefix
        found = read(s3, address, partial_prefix)
        objects = [item for item in found if not (skip_folder_keys and item.key.endswith("/"))]
    except S3_ERRORS as error:
        raise ClientFailedError(
            f"Failed to download data. ListObjectsV2 failed for {uri}: {_first_line(error)}"
        ) from error
    except ValueError as error:
        raise ClientFailedError(f"Failed to download data. {uri}: {_first_line(error)}") from error
    if not objects:
        raise ClientFailedError(f"Failed to download data. No S3 objects found under S3 URL {uri!r}")
    return sorted(objects, key=lambda item: (item.bucket, item.key))


def _from_prefix(s3: S3Storage, address: S3Address, partial_prefix: str) -> Iterator[InputObject]:
    prefix = address.key
    for item in s3.list_objects(address):
        if item.key.startswith(f"{prefix}/"):
            start = len(prefix) + 1
        elif partial_prefix == "prefix" and item.key != prefix:
            start = len(prefix)
        else:
            start = prefix.rfind("/") + 1
        yield InputObject(item.bucket, item.key, item.key[start:], item.size)


def _from_manifest(s3: S3Storage, address: S3Address, partial_prefix: str) -> Iterator[InputObject]:
    entries: Any = json.loads(s3.read(address))
    if not isinstance(entries, list) or not entries or not isinstance(entries[0], dict):
        raise ValueError('a manifest is a JSON list that begins with {"prefix": "s3://…"}')
    prefix = entries[0].get("prefix")
    if not isinstance(prefix, str):
        raise ValueError('the first entry of a manifest is {"prefix": "s3://…"}')  # noqa: TRY004 (a manifest's content, reported with its other faults)
    if len(entries) == 1:
        # With no names, the prefix itself is the input.
        yield from _from_prefix(s3, S3Address.parse(prefix), partial_prefix)
    for name in entries[1:]:
        target = S3Address.parse(f"{prefix}{name}")
        yield InputObject(target.bucket, target.key, str(name).lstrip("/"), s3.head_object(target).size)


def assign_objects(
    objects: Sequence[InputObject], host_count: int, assignment: str
) -> list[list[InputObject]]:
    """Assign each object to one host: a list per host, each in key order."""
    objects_by_host: list[list[InputObject]] = [[] for _ in range(host_count)]
    for number, item in enumerate(objects):
        if assignment == "round_robin":
            host = number % host_count
        elif assignment == "hash":
            host = zlib.crc32(item.key.encode()) % host_count
        else:
            host = number * host_count // len(objects)
        objects_by_host[host].append(item)
    return objects_by_host


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
