"""`join` without preprocessing: put each record of the input beside its prediction, for one group of pieces."""

from __future__ import annotations

import gzip
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from include.jobs.join import JoinSpec, ShardFiles, in_order, unfinished
from include.jobs.parts import STATISTICS_SUFFIX, join_part, part_name, statistics_of
from include.orchestration import job_outputs
from include.orchestration.direct.documents import read_group
from include.orchestration.direct.jobs import finished_jobs
from include.orchestration.direct.ranges import download
from include.orchestration.job_outputs import JobOutputs
from include.orchestration.run_context import RunContext, with_run
from include.orchestration.storage import Storage
from include.orchestration.streaming import uploading
from include.orchestration.tasks.join import FETCHING
from include.scoring.config import Pipeline
from include.scoring.laid_out import PieceFile
from include.scoring.requests import join_spec, source_folder

if TYPE_CHECKING:
    from _typeshed import SupportsRead

COUNTS_SUFFIX = ".counts.json"
_CHUNK = 1 << 20
# Looked for from the first of them only, so that many in a row cost no more than once.
_LINE_END = re.compile(rb"(?<!\r)\r+\n")


@with_run
def join(run: RunContext, group: Mapping[str, int], **_: Any) -> dict[str, Any]:
    """One part file under the run's prefix, and beside it how many rows are of each piece.

    Raises:
        ReconciliationError: the answers are to what another plan laid out, or an input object was overwritten.
        AssociationError: a piece has not as many predictions as records, or one that cannot be read.
    """
    config, plan, jobs = run.pipeline, run.plan, finished_jobs(run)
    paths, storage = run.paths, run.storage
    laid_out = paths.layout(run.nonce)
    lies = plan["layout"]["way"] == "as it lies"
    sources = Sources(
        storage=storage,
        pipeline=config,
        folder=source_folder(plan["input"]["uri"]) if lies else laid_out.pieces,
        lies=lies,
        answers=[JobOutputs.of(storage, job) for job in jobs],
        assignment=storage.read_json(laid_out.assignment),
    )
    pieces = read_group(storage, laid_out, group["number"])
    spec = JoinSpec.from_dict(join_spec(config))
    # The try is part of the name: what an earlier try left behind is never taken for this one's.
    attempt = f"{jobs[0]['job_name']}-{run.ti.try_number}"
    name = part_name(group["number"], spec)
    uri = f"{paths.joined(attempt)}{name}"
    with tempfile.TemporaryDirectory(prefix="join-") as folder:
        output = Path(folder) / name
        files = in_order((partial(sources.fetch, piece, Path(folder)) for piece in pieces), FETCHING)
        with uploading(storage, uri, unfinished(output), output):
            part = join_part(files, output, spec)
        storage.upload(statistics_of(output), f"{uri}{STATISTICS_SUFFIX}")
    # There may be as many pieces as the input has objects, and XCom is no place for those.
    rows = part.pop("shards")
    storage.write_json(f"{uri}{COUNTS_SUFFIX}", [rows[piece.name] for piece in pieces])
    return {
        "uri": uri,
        "statistics": f"{uri}{STATISTICS_SUFFIX}",
        "counts": f"{uri}{COUNTS_SUFFIX}",
        "number": group["number"],
        "transform_jobs": [job["job_name"] for job in jobs],
        **part,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where records and answers are: below `folder`, and below the output prefixes of the job that was given a piece.

    `lies` says that records are the user's own objects, which must still be those that were planned.
    """

    storage: Storage
    pipeline: Pipeline
    folder: str
    lies: bool
    answers: Sequence[JobOutputs]
    assignment: Sequence[int]

    def fetch(self, piece: PieceFile, folder: Path) -> ShardFiles:
        """Bring one piece's records and predictions here, the records as lines of utf-8 text."""
        etag = piece.sources[0].etag if self.lies else piece.etag
        stored = download(self.storage, piece.uri, etag, folder / f"{piece.name}.stored")
        records = folder / f"{piece.name}.records"
        packed = self.pipeline.input.compression == "gzip"
        with stored.open("rb") as source, records.open("wb") as target:
            copy_lines(gzip.GzipFile(fileobj=source) if packed else source, target)
        stored.unlink()
        answers = self.answers[self.assignment[piece.position]].named(
            f"{piece.uri.removeprefix(self.folder)}.out"
        )
        return ShardFiles(
            name=piece.name,
            records=records,
            predictions=job_outputs.download(self.storage, answers, folder / f"{piece.name}.predictions"),
            columns=self.pipeline.column_names,
        )


def copy_lines(source: SupportsRead[bytes], target: IO[bytes]) -> None:
    """Copy text; line ends of several characters become one, as the join expects them.

    Several are CR LF, CR CR LF, which text mode makes of it, and a CR at the very end.
    """
    held = b""
    while chunk := source.read(_CHUNK):
        data = held + chunk
        # What follows them comes with the next chunk.
        lines = data.rstrip(b"\r")
        held = data[len(lines) :]
        if b"\r" in lines:
            lines = lines.replace(b"\r\n", b"\n")
            lines = _LINE_END.sub(b"\n", lines) if b"\r\n" in lines else lines
        target.write(lines)
