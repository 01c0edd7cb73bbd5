"""Selects the objects of a listing that are the input of a run, while the listing is read.

Files and folders whose names begin with `_` or `.` are control files of the program that wrote the input, and are
excluded as Spark, Hive, Arrow and DuckDB exclude them. In a folder that this package published to, `_manifest.json`
names the published objects. Only the part of a key after the input's URI is checked: the URI itself is taken as meant.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from batch_inference.common.errors import PlanError
from batch_inference.common.names import MANIFEST_NAME, MANIFEST_VERSION
from batch_inference.common.object_names import MAX_KEY_BYTES, KeyCount, KeyNameChecker, is_control_name
from batch_inference.common.s3_uri import split_s3_uri
from batch_inference.planning.inputs.input_listing import (
    ExcludedObjects,
    S3Object,
    iter_unless_prefix_ambiguous,
)

#: How often an input that disagrees with its manifests is listed: a run may be publishing at this moment.
MAX_LISTINGS = 3
#: A manifest of this package has some hundred bytes for each file; a larger one is not of this package.
MAX_MANIFEST_BYTES = 64_000_000
_REQUIRED_KEYS = ("pipeline", "run_id", "output_uri", "files")


class ListAgainError(Exception):
    """A manifest disagrees with the objects that were listed before it: the input has to be listed again."""


@dataclass(frozen=True, slots=True)
class PublishedFolder:
    """A folder that a run was published to: the URI of its manifest, and the run and its pipeline, for people.

    `missing` has the ETags of the manifest's files that were not listed yet, by name.
    """

    uri: str
    run: str
    missing: dict[str, str]


class InputSelection:
    """Selects the objects that a run scores, from a listing that is read once and not kept.

    `read_object` returns the content of an object by URI, or None when it is gone. `max_name_bytes` is the longest key
    that a job accepts, counted from the last slash of the input's URI.
    """

    def __init__(
        self,
        input_uri: str,
        read_object: Callable[[str], bytes | None],
        *,
        max_name_bytes: int = MAX_KEY_BYTES,
    ) -> None:
        self.uri = input_uri
        self._read = read_object
        self._longest_name = max_name_bytes
        self._bucket, prefix = split_s3_uri(input_uri)
        self._base = prefix[: prefix.rfind("/") + 1]
        #: Whether the user wrote the beginning of the first segment below the base.
        self._is_partial = len(prefix) > len(self._base)
        #: Folders whose manifest decides about objects that are listed before it.
        self._late_folders: set[str] = set()
        self._disagreements = 0
        self._reset()

    def _reset(self) -> None:
        self._control, self._unpublished = KeyCount(), KeyCount()
        self._manifests, self._run = 0, ""
        # Of folders, only those that the current object lies in are held: keys come in order.
        self._published: dict[str, PublishedFolder] = {}
        self._folders_with_input: list[str] = []
        self._is_manifest_late = False

    @property
    def excluded(self) -> ExcludedObjects:
        """The objects of the latest listing that are not input."""
        return ExcludedObjects(
            control_files=self._control.count,
            unpublished=self._unpublished.count,
            manifests=self._manifests,
            run=self._run if self._manifests == 1 else None,
            example=next(iter(self._control.examples), None),
        )

    def select(self, objects: Iterable[S3Object]) -> Iterator[S3Object]:
        """The objects of a listing, in its order, that are input.

        Raises:
            RequestLintError: the URI means a folder and matches others, or, after the last object, keys cannot be
                files.
            ListAgainError: the objects disagree with a manifest; call again, with a new listing.
            PlanError: they disagree again and again, or a manifest cannot be followed.
        """
        self._reset()
        names = KeyNameChecker(self._longest_name)
        start = len(self._base)
        folder: str | None = None
        is_control = is_folder_recorded = False
        published: PublishedFolder | None = None
        for item in iter_unless_prefix_ambiguous(self.uri, objects):
            key, size, _ = item
            name_start = key.rfind("/") + 1
            if (key_folder := key[start:name_start]) != folder:
                folder, is_folder_recorded = key_folder, False
                is_control = self._is_control_folder(folder)
                published = self._enter(folder)
                names.enter_folder(folder)
            name = key[name_start:]
            if size <= 0 and not name:
                continue  # a folder that S3's console made
            if is_control or (is_control_name(name) and not self._is_named(folder)):
                if name == MANIFEST_NAME and not is_control:
                    published = published or self._follow(folder, size)
                if name != MANIFEST_NAME or published is None:
                    self._control.add(key)
                continue
            if published is not None and not self._is_published(published, name, item):
                self._unpublished.add(key)
                continue
            if size > 0:
                names.add(key, name)
            if not is_folder_recorded:
                # A listing returns to a folder after each of its sub-folders.
                if folder not in self._folders_with_input:
                    self._folders_with_input.append(folder)
                is_folder_recorded = True
            yield item
        self._enter(None)
        if self._is_manifest_late:
            raise ListAgainError("a manifest was listed after objects that it decides about")
        names.raise_if_invalid(self.uri)

    def _is_named(self, folder: str) -> bool:
        """Whether the user wrote the beginning of the names that lie in this folder."""
        return self._is_partial and not folder

    def _is_control_folder(self, folder: str) -> bool:
        segments = folder.split("/")[:-1]
        return any(map(is_control_name, segments[1:] if self._is_partial else segments))

    def _enter(self, folder: str | None) -> PublishedFolder | None:
        """Leave the folders that do not contain the next object; return the published folder that does, if any."""
        for each in [each for each in self._published if folder is None or not folder.startswith(each)]:
            self._finish(self._published.pop(each))
        if folder is None:
            return None
        self._folders_with_input = [each for each in self._folders_with_input if folder.startswith(each)]
        if folder in self._late_folders and folder not in self._published:
            return self._follow(folder, 1)
        return self._published.get(folder)

    def _follow(self, folder: str, size: int) -> PublishedFolder | None:
        """The published folder of a manifest; None where the manifest is not of this package."""
        uri = f"s3://{self._bucket}/{self._base}{folder}{MANIFEST_NAME}"
        content = self._read(uri) if 0 < size <= MAX_MANIFEST_BYTES else None
        published = None if content is None else parse_published_manifest(uri, content)
        if published is None:
            return None
        if folder in self._folders_with_input:
            self._late_folders.add(folder)
            self._is_manifest_late = True
        self._manifests += 1
        self._run = published.run
        self._published[folder] = published
        return published

    def _is_published(self, published: PublishedFolder, name: str, item: S3Object) -> bool:
        etag = published.missing.pop(name, None)
        if etag not in (None, item.etag):
            what = f"names {name} with the ETag {etag}, but the object there has {item.etag}"
            self._disagree(published, what)
        return etag is not None

    def _finish(self, published: PublishedFolder) -> None:
        if published.missing:
            self._disagree(published, f"names {min(published.missing)}, which is not there")

    def _disagree(self, published: PublishedFolder, what: str) -> None:
        if self._is_manifest_late:
            return  # the next listing tells
        self._disagreements += 1
        if self._disagreements < MAX_LISTINGS:
            raise ListAgainError(f"{published.uri} {what}")
        raise PlanError(
            f"{published.uri}, by which the run {published.run} is published, {what}: it was deleted or replaced by "
            f"something other than a run; publish that run again, or delete the manifest to score all objects of the "
            f"folder"
        )


def parse_published_manifest(uri: str, content: bytes) -> PublishedFolder | None:
    """The folder of the manifest at `uri` of a run of this package, or None when it is something else.

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
    return PublishedFolder(uri, f"{document['run_id']} of the pipeline {document['pipeline']}", etags)
