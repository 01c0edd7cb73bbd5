"""What lies below a pipeline's output: the manifest that stands, and the part files that may be deleted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from include.orchestration.storage import Storage
from include.scoring.manifest import parse_manifest, replaced_parts

#: With what the names of part files begin.
PART = "part-"


@dataclass(frozen=True, slots=True)
class Published:
    """The manifest that was current when it was read."""

    manifest: dict[str, Any]
    etag: str
    committed_at: datetime

    @property
    def run_id(self) -> str:
        """The run whose rows are published."""
        return str(self.manifest["run_id"])

    @property
    def files(self) -> list[str]:
        """URIs of the part files that readers are told of."""
        return [str(file["uri"]) for file in self.manifest["files"]]

    @property
    def replaced(self) -> dict[str, datetime]:
        """Part files that readers were told of before, and since when they no longer are."""
        named = set(self.files)
        return {
            uri: since
            for uri, since in replaced_parts(self.manifest, self.committed_at).items()
            if uri not in named
        }


def manifest_of(output: str) -> str:
    """The document that says what is published below `output`, which ends in `/`."""
    return f"{output}_manifest.json"


def read_published(storage: Storage, output: str, pipeline: str) -> Published | None:
    """What the pipeline has published below `output`, or None.

    Raises:
        OutputError: the manifest there is not this pipeline's.
    """
    stored = storage.read_stored(manifest_of(output))
    if stored is None:
        return None
    manifest = parse_manifest(stored.content, uri=manifest_of(output), pipeline=pipeline)
    return Published(manifest, stored.etag, stored.written)


def delete_parts(storage: Storage, output: str, uris: Iterable[str]) -> list[str]:
    """Delete part files directly below the output, and nothing else, whatever a manifest found there says."""
    parts = [uri for uri in uris if uri.startswith(f"{output}{PART}") and "/" not in uri.removeprefix(output)]
    storage.delete(parts)
    return parts
