"""`join_piece_group` without preprocessing: join each input record with its prediction, for one group of pieces."""

from __future__ import annotations

import gzip
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from batch_inference.aws.ranges import download_object
from batch_inference.aws.s3 import Storage
from batch_inference.aws.streaming_upload import upload_while_writing
from batch_inference.common.s3_uri import get_parent_folder
from batch_inference.config.pipeline import Pipeline
from batch_inference.dag.task_functions import provide_run_context
from batch_inference.dag.tasks.join_shards import PREFETCHED_SHARDS
from batch_inference.input_pieces.layout_files import read_group
from batch_inference.jobs.join.aligned_join import JoinSpec, ShardFiles, get_partial_path, run_in_order
from batch_inference.jobs.join.parts import (
    STATISTICS_SUFFIX,
    format_part_name,
    get_statistics_path,
    join_part,
)
from batch_inference.requests.sagemaker import build_join_spec
from batch_inference.run import job_outputs
from batch_inference.run.job_outputs import JobOutputs
from batch_inference.run.mapped_jobs import read_finished_jobs
from batch_inference.run.run_context import RunContext
from batch_inference.verification.transform_objects import TransformObject

if TYPE_CHECKING:
    from _typeshed import SupportsRead

COUNTS_SUFFIX = ".counts.json"
_CHUNK = 1 << 20
# The lookbehind starts a match at the first CR only, so a long row of them is scanned once.
_LINE_END = re.compile(rb"(?<!\r)\r+\n")


@provide_run_context
def join_piece_group(run: RunContext, group: Mapping[str, int], **_: Any) -> dict[str, Any]:
    """Write one part file below the run's prefix, and next to it the number of rows of each piece.

    Raises:
        ReconciliationError: the predictions are for the pieces of another plan, or an input object was overwritten.
        PredictionCountError: a piece does not have one prediction for each record, or one cannot be read.
    """
    config, plan, jobs = run.pipeline, run.plan, read_finished_jobs(run)
    paths, storage = run.paths, run.storage
    layout_paths = paths.build_layout_paths(run.nonce)
    is_unsplit = plan["layout"]["mode"] == "unsplit"
    sources = PieceSources(
        storage=storage,
        pipeline=config,
        source_folder_uri=get_parent_folder(plan["input"]["uri"]) if is_unsplit else layout_paths.pieces,
        is_unsplit=is_unsplit,
        transform_outputs=[JobOutputs.read(storage, job) for job in jobs],
        assignment=storage.read_json(layout_paths.assignment),
    )
    pieces = read_group(storage, layout_paths, group["number"])
    spec = JoinSpec.from_dict(build_join_spec(config))
    # The try number is part of the name, so the file of an earlier try is never mistaken for this one's.
    attempt = f"{jobs[0]['job_name']}-{run.ti.try_number}"
    name = format_part_name(group["number"], spec)
    uri = f"{paths.build_joined_prefix(attempt)}{name}"
    with tempfile.TemporaryDirectory(prefix="join-") as folder:
        output = Path(folder) / name
        files = run_in_order(
            (partial(sources.fetch_piece, piece, Path(folder)) for piece in pieces), PREFETCHED_SHARDS
        )
        with upload_while_writing(storage, uri, get_partial_path(output), output):
            part = join_part(files, output, spec)
        storage.upload(get_statistics_path(output), f"{uri}{STATISTICS_SUFFIX}")
    # There may be as many pieces as the input has objects, which is too much for XCom.
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
class PieceSources:
    """The records below `source_folder_uri`, and the predictions below the output prefixes of the job of each piece.

    With `is_unsplit` the records are the user's own objects, which must still have the ETags that were planned.
    """

    storage: Storage
    pipeline: Pipeline
    source_folder_uri: str
    is_unsplit: bool
    transform_outputs: Sequence[JobOutputs]
    assignment: Sequence[int]

    def fetch_piece(self, piece: TransformObject, folder: Path) -> ShardFiles:
        """Download one piece's records and predictions, the records as lines of utf-8 text."""
        etag = piece.sources[0].etag if self.is_unsplit else piece.etag
        stored = download_object(self.storage, piece.uri, etag, folder / f"{piece.name}.stored")
        records = folder / f"{piece.name}.records"
        is_compressed = self.pipeline.input.compression == "gzip"
        with stored.open("rb") as source, records.open("wb") as target:
            copy_normalized_lines(gzip.GzipFile(fileobj=source) if is_compressed else source, target)
        stored.unlink()
        predictions = self.transform_outputs[self.assignment[piece.position]].find_output(
            f"{piece.uri.removeprefix(self.source_folder_uri)}.out"
        )
        return ShardFiles(
            name=piece.name,
            records_path=records,
            predictions_path=job_outputs.download_unchanged(
                self.storage, predictions, folder / f"{piece.name}.predictions"
            ),
            columns=self.pipeline.column_names,
        )


def copy_normalized_lines(source: SupportsRead[bytes], target: IO[bytes]) -> None:
    """Copy text and turn its line ends into LF, as the join expects them.

    Line ends are LF, CR LF, and CR CR LF, which a text mode makes of CR LF; CRs at the very end are dropped.
    """
    held = b""
    while chunk := source.read(_CHUNK):
        data = held + chunk
        # CRs at the end of a chunk wait for the next one.
        lines = data.rstrip(b"\r")
        held = data[len(lines) :]
        if b"\r" in lines:
            lines = lines.replace(b"\r\n", b"\n")
            lines = _LINE_END.sub(b"\n", lines) if b"\r\n" in lines else lines
        target.write(lines)
