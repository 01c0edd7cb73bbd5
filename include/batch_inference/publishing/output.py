"""Reads a pipeline's output: the current manifest, and the part files that it has replaced."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from batch_inference.aws.s3 import Storage
from batch_inference.common.names import MANIFEST_NAME
from batch_inference.publishing.manifest import parse_manifest

#: Prefix of the names of part files.
PART_PREFIX = "part-"


@dataclass(frozen=True, slots=True)
class PublishedOutput:
    """The manifest that was current when it was read."""

    manifest: dict[str, Any]
    etag: str
    committed_at: datetime

    @property
    def run_id(self) -> str:
        """The id of the published run."""
        return str(self.manifest["run_id"])

    @property
    def part_uris(self) -> list[str]:
        """URIs of the current part files."""
        return [str(file["uri"]) for file in self.manifest["files"]]

    @property
    def replaced_since(self) -> dict[str, datetime]:
        """URIs of part files of earlier manifests, and since when each is replaced."""
        current = set(self.part_uris)
        # Manifests from before the grace period have the URI alone.
        replaced = dict(
            (part, None) if isinstance(part, str) else (part["uri"], part["replaced_at"])
            for part in self.manifest.get("replaces", ())
        )
        return {
            # Without a time, this manifest replaced it.
            uri: datetime.fromisoformat(moment) if moment else self.committed_at
            for uri, moment in replaced.items()
            if uri not in current
        }


def build_manifest_uri(output: str) -> str:
    """The URI of the manifest of `output`, which ends in `/`."""
    return f"{output}{MANIFEST_NAME}"


def read_published(storage: Storage, output: str, pipeline: str) -> PublishedOutput | None:
    """The current manifest of `output`, or None.

    Raises:
        OutputConflictError: the manifest there is not this pipeline's.
    """
    stored = storage.read_snapshot(build_manifest_uri(output))
    if stored is None:
        return None
    manifest = parse_manifest(stored.content, uri=build_manifest_uri(output), pipeline=pipeline)
    return PublishedOutput(manifest, stored.etag, stored.last_modified)


def delete_parts(storage: Storage, output: str, uris: Iterable[str]) -> list[str]:
    """Delete part files directly below the output; other URIs, which a damaged manifest may list, are ignored."""
    prefix = f"{output}{PART_PREFIX}"
    parts = [uri for uri in uris if uri.startswith(prefix) and "/" not in uri.removeprefix(prefix)]
    storage.delete(parts)
    return parts
