"""Parses a `_manifest.json` in an input: one of this package names the published objects of its folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from batch_inference.common.errors import PlanError
from batch_inference.common.names import MANIFEST_VERSION

#: A manifest of this package has some hundred bytes for each file; a larger one is not of this package.
MAX_MANIFEST_BYTES = 64_000_000
_REQUIRED_KEYS = ("pipeline", "run_id", "output_uri", "files")


@dataclass(frozen=True, slots=True)
class PublishedManifest:
    """The run that published to a folder, and the ETag of each of its files by name."""

    pipeline: str
    run_id: str
    etags: dict[str, str]


def parse_published_manifest(uri: str, content: bytes) -> PublishedManifest | None:
    """The manifest at `uri` of a run of this package, or None when it is something else.

    Raises:
        PlanError: it is this package's and cannot be followed.
    """
    try:
        document: Any = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or not all(key in document for key in _REQUIRED_KEYS):
        return None
    if document.get("version") != MANIFEST_VERSION:
        raise PlanError(
            f"{uri} is a manifest of version {document.get('version')!r}, and this code reads version "
            f"{MANIFEST_VERSION}; upgrade this deployment, or choose another input"
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
            f"is not in that folder; publish its run {document['run_id']} again, or delete it"
        )
    return PublishedManifest(str(document["pipeline"]), str(document["run_id"]), etags)
