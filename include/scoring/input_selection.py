"""Which objects of a listing are the input of a run, decided while the listing passes by.

Names that begin with `_` or `.`, of folders too, are control files of whoever wrote the input, and left out as Spark,
Hive, Arrow and DuckDB leave them out. Where this package published, its `_manifest.json` says which of the objects
beside it are the published ones. Only what follows the input's URI is looked at: what the user wrote there is meant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from include.scoring.errors import PlanError
from include.scoring.listing import LeftOut, S3Object, one_folder
from include.scoring.object_names import LONGEST_KEY, KeyCount, NameCheck, is_control_name
from include.scoring.published_manifest import MANIFEST_NAME, MOST_BYTES, PublishedManifest, read_published
from include.scoring.s3uri import split

#: How often an input is listed that does not agree with its manifests: somebody may be publishing at this moment.
MOST_LISTINGS = 3


class ListAgainError(Exception):
    """A manifest was read that does not agree with what was listed before: the input has to be listed again."""


@dataclass(slots=True)
class _PublishedFolder:
    """A folder in which a run was published, and those of its files that were not listed yet, with their ETags."""

    uri: str
    manifest: PublishedManifest
    missing: dict[str, str]


class InputSelection:
    """Selects the objects that a run scores, out of a listing that is read once and not kept.

    `read` gives the content of an object of the input, by URI, or None when it is gone. `longest_name` is the most
    bytes that a job can take of a key, counted from the last slash of the input's URI.
    """

    def __init__(
        self, input_uri: str, read: Callable[[str], bytes | None], *, longest_name: int = LONGEST_KEY
    ) -> None:
        self.uri = input_uri
        self._read = read
        self._longest_name = longest_name
        self._bucket, prefix = split(input_uri)
        self._base = prefix[: prefix.rfind("/") + 1]
        #: Whether the user wrote the beginning of the first segment below the base.
        self._is_partial = len(prefix) > len(self._base)
        #: Folders whose manifest decides about objects that are listed before it.
        self._known: set[str] = set()
        self._disagreements = 0
        self._begin()

    def _begin(self) -> None:
        self._control, self._unpublished = KeyCount(), KeyCount()
        self._manifests, self._run = 0, ""
        # Of folders, only those that the current object lies in are held: keys come in order.
        self._published: dict[str, _PublishedFolder] = {}
        self._holding_input: list[str] = []
        self._is_late = False

    @property
    def left_out(self) -> LeftOut:
        """What the listing that was read last holds beside the input."""
        return LeftOut(
            control_files=self._control.number,
            unpublished=self._unpublished.number,
            manifests=self._manifests,
            run=self._run if self._manifests == 1 else None,
            example=next(iter(self._control.examples), None),
        )

    def select(self, objects: Iterable[S3Object]) -> Iterator[S3Object]:
        """The objects of a listing, in its order, that are input.

        Raises:
            LintError: the URI means a folder and matches others, or, after the last object, keys cannot be files.
            ListAgainError: the objects disagree with a manifest; call again, with a new listing.
            PlanError: they disagree again and again, or a manifest cannot be followed.
        """
        self._begin()
        names = NameCheck(self._longest_name)
        start = len(self._base)
        folder: str | None = None
        is_control = is_noted = False
        published: _PublishedFolder | None = None
        for item in one_folder(self.uri, objects):
            key, size, _ = item
            at = key.rfind("/") + 1
            if (place := key[start:at]) != folder:
                folder, is_noted = place, False
                is_control = self._is_control_folder(folder)
                published = self._enter(folder)
                names.enter(folder)
            name = key[at:]
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
            if not is_noted:
                # A folder is come back to behind each of its sub-folders.
                if folder not in self._holding_input:
                    self._holding_input.append(folder)
                is_noted = True
            yield item
        self._enter(None)
        if self._is_late:
            raise ListAgainError("a manifest was listed after objects that it decides about")
        names.refuse(self.uri)

    def _is_named(self, folder: str) -> bool:
        """Whether the user wrote the beginning of the names that lie in this folder."""
        return self._is_partial and not folder

    def _is_control_folder(self, folder: str) -> bool:
        segments = folder.split("/")[:-1]
        return any(map(is_control_name, segments[1:] if self._is_partial else segments))

    def _enter(self, folder: str | None) -> _PublishedFolder | None:
        """Leave the folders that the next object does not lie in; what was published in the one that it lies in."""
        for each in [each for each in self._published if folder is None or not folder.startswith(each)]:
            self._finish(self._published.pop(each))
        if folder is None:
            return None
        self._holding_input = [each for each in self._holding_input if folder.startswith(each)]
        if folder in self._known and folder not in self._published:
            return self._follow(folder, 1)
        return self._published.get(folder)

    def _follow(self, folder: str, size: int) -> _PublishedFolder | None:
        """What this package published to a folder that has a manifest; None where the manifest is another's."""
        uri = f"s3://{self._bucket}/{self._base}{folder}{MANIFEST_NAME}"
        content = self._read(uri) if 0 < size <= MOST_BYTES else None
        manifest = None if content is None else read_published(uri, content)
        if manifest is None:
            return None
        if folder in self._holding_input:
            self._known.add(folder)
            self._is_late = True
        self._manifests += 1
        self._run = f"{manifest.run_id} of the pipeline {manifest.pipeline}"
        self._published[folder] = _PublishedFolder(uri, manifest, dict(manifest.etags))
        return self._published[folder]

    def _is_published(self, published: _PublishedFolder, name: str, item: S3Object) -> bool:
        etag = published.missing.pop(name, None)
        if etag is not None and etag != item.etag:
            self._disagree(
                published, f"names {name} with the ETag {etag}, but the object there has {item.etag}"
            )
        return etag is not None

    def _finish(self, published: _PublishedFolder) -> None:
        if published.missing:
            self._disagree(published, f"names {min(published.missing)}, which is not there")

    def _disagree(self, published: _PublishedFolder, what: str) -> None:
        if self._is_late:
            return  # the next listing tells
        self._disagreements += 1
        if self._disagreements < MOST_LISTINGS:
            raise ListAgainError(f"{published.uri} {what}")
        run = f"{published.manifest.run_id} of the pipeline {published.manifest.pipeline}"
        raise PlanError(
            f"{published.uri}, by which the run {run} is published, {what}: it was deleted or replaced by something "
            f"else than a run; publish that run again, or delete the manifest to score whatever lies there"
        )
