"""Reads a `_manifest.json` that lies in an input: this package's own says which objects beside it are published."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from include.scoring.errors import PlanError
from include.scoring.manifest import VERSION

MANIFEST_NAME = "_manifest.json"
#: A manifest of ours has some hundred bytes for each file; whatever is larger than this is another's.
MOST_BYTES = 64_000_000
_OURS = ("pipeline", "run_id", "output_uri", "files")


@dataclass(frozen=True, slots=True)
class PublishedManifest:
    """The run that published to a folder, and the ETag of each of its files by name."""

    pipeline: str
    run_id: str
    etags: dict[str, str]


def read_published(uri: str, content: bytes) -> PublishedManifest | None:
    """The manifest at `uri` of a run of this package, or None when it is something else.

    Raises:
        PlanError: it is this package's and cannot be followed.
    """
    try:
        document: Any = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or not all(key in document for key in _OURS):
        return None
    if document.get("version") != VERSION:
        raise PlanError(
            f"{uri} is a manifest of version {document.get('version')!r}, and this code reads version {VERSION}; "
            f"upgrade this deployment, or choose another input"
        )
    output = str(document["output_uri"])
    try:
        etags = {str(file["uri"]).removeprefix(output): str(file["etag"]) for file in document["files"]}
    except (TypeError, KeyError) as error:
        raise PlanError(
            f"{uri} is a manifest of the pipeline {document['pipeline']}, but its files have no uri and etag "
            f"({type(error).__name__}: {error}); publish its run {document['run_id']} again, or delete it"
        ) from None
    outside = [name for name in etags if "/" in name]
    if outside:
        raise PlanError(
            f"{uri} is a manifest of the pipeline {document['pipeline']} for {output}, but names {outside[0]!r}, which "
            f"does not lie there; publish its run {document['run_id']} again, or delete it"
        )
    return PublishedManifest(str(document["pipeline"]), str(document["run_id"]), etags)
