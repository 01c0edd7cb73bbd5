"""The protocol of the output prefix: parts, `_manifest.json` by one conditional PUT, `_SUCCESS`, then tidying.

Who follows the manifest sees whole runs. Names of parts carry run, nonce and try, so that a file somebody may be
reading is never overwritten, and what a try left behind is known by its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from include.orchestration.readback import read_back
from include.orchestration.storage import Storage
from include.scoring.errors import ReconciliationError
from include.scoring.naming import run_slug


@dataclass(frozen=True, slots=True)
class Publication:
    """One try of one run to publish below `output`, which ends in `/`; `delimiter` parts the cells of CSV."""

    storage: Storage
    output: str
    run_id: str
    nonce: str
    attempt: str
    delimiter: str

    @property
    def manifest_uri(self) -> str:
        """The document that says what is published."""
        return f"{self.output}_manifest.json"

    @property
    def run_mark(self) -> str:
        """The part of file names that is this run's alone."""
        return f"-{run_slug(self.run_id)}-{self.nonce[:6]}-"

    def target(self, uri: str) -> str:
        """Where the joined `…/part-00000.parquet` is published."""
        stem, suffix = uri.rsplit("/", 1)[1].rsplit(".", 1)
        return f"{self.output}{stem}{self.run_mark}{self.attempt}.{suffix}"

    def copied(self, part: Mapping[str, Any]) -> dict[str, Any]:
        """Copy one part to the output and read its rows back; its entry in the manifest.

        Raises:
            ReconciliationError: the copy does not hold what the join wrote.
        """
        target = self.target(part["uri"])
        self.storage.copy(part["uri"], target)
        found = read_back(self.storage, target, self.delimiter)
        if found.rows != part["rows"]:
            raise ReconciliationError(
                f"{target}: {found.rows:,} rows were read back, {part['rows']:,} were written; not committed"
            )
        if found.sha256 != part["sha256"]:
            raise ReconciliationError(
                f"{target}: the bytes that were read back are not those that were written (SHA-256 {found.sha256}, not "
                f"{part['sha256']}); not committed"
            )
        return {"uri": target, "rows": found.rows, "sha256": found.sha256, **self.storage.head(target)}

    def before(self) -> tuple[Any, str] | None:
        """What is published now, with its ETag."""
        return self.storage.current(self.manifest_uri)

    def replaced(self, before: tuple[Any, str] | None) -> list[str]:
        """The files that go when this run is published: those of the manifest `before`, and what that one had to remove
        and did not, because its run ended between committing and tidying."""
        if before is None:
            return []
        there = set(self.storage.uris(self.output))
        named = [*(str(file["uri"]) for file in before[0]["files"]), *map(str, before[0].get("replaces", ()))]
        return [uri for uri in dict.fromkeys(named) if uri in there]

    def commit(self, manifest: Mapping[str, Any], before: tuple[Any, str] | None) -> None:
        """Make this run the published one, in place of the one that was there `before`.

        Raises:
            ReconciliationError: another run was published since; that one stands.
        """
        etag = None if before is None else before[1]
        if self.storage.commit_json(self.manifest_uri, manifest, replacing=etag):
            return
        # A repeated PUT whose first answer was lost is refused because of itself.
        now = self.before()
        if now is not None and now[0]["files"] == list(manifest["files"]):
            return
        raise ReconciliationError(
            f"another run published to {self.output} while this one was about to; what it published stands, and this "
            f"run's files were removed from there. Clear `publish` to publish this run instead."
        )

    def tidy(self, manifest: Mapping[str, Any]) -> None:
        """Say that the run is complete; remove what it replaces, and what other tries of it left behind."""
        self.storage.write(f"{self.output}_SUCCESS", "", content_type="text/plain")
        mine = {str(file["uri"]) for file in manifest["files"]}
        left_behind = [uri for uri in self.storage.uris(f"{self.output}part-") if self.run_mark in uri]
        self.remove_parts(uri for uri in [*manifest["replaces"], *left_behind] if uri not in mine)

    def remove_parts(self, uris: Iterable[str]) -> None:
        """Delete part files directly below the output, and nothing else, whatever a manifest found there says."""
        self.storage.delete(
            uri
            for uri in uris
            if uri.startswith(f"{self.output}part-") and "/" not in uri.removeprefix(self.output)
        )
