"""The join without preprocessing reads the objects that were laid out, and the answers that their jobs left."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from batch_inference.aws.s3 import Storage
from batch_inference.common.errors import ReconciliationError
from batch_inference.common.names import InputLayoutPaths
from batch_inference.input_pieces.layout_files import read_join_group, write_join_group
from batch_inference.planning.inputs.input_split import ByteRange
from batch_inference.run.job_outputs import JobOutputs
from batch_inference.run.join_inputs import PieceSource
from batch_inference.verification.transform_objects import TransformObject
from sagemaker_jobs.job.output_files import write_output_listing
from tests.unit.builders import example

PIECES, ANSWERS = "s3://bucket/run/layout/pieces/", "s3://bucket/run/t-1/predictions/"


@pytest.fixture
def laid_out(storage: Storage) -> PieceSource:
    """One piece that `cut_input` has made, answered by one job."""
    storage.delete(storage.list_uris("s3://bucket/run/"))
    storage.write(f"{PIECES}0000000.csv", "1,2\n")
    storage.write(f"{ANSWERS}0000000.csv.out", "99.5\n")
    etag = str(storage.head(f"{PIECES}0000000.csv")["etag"])
    listing = write_output_listing(storage.client, [ANSWERS])
    job = {"job_name": "t-1", "output_uris": [ANSWERS], "listing": listing}
    span = ByteRange("in/a.csv", "e", 0, 4, 4)
    return PieceSource(
        storage=storage, pipeline=example(), source_folder_uri=PIECES, is_unsplit=False,
        piece=TransformObject(0, f"{PIECES}0000000.csv", 4, (span,), etag=etag),
        outputs=JobOutputs.read(storage, job),
    )  # fmt: skip


def test_a_piece_and_its_answers_are_brought(laid_out: PieceSource, tmp_path: Path) -> None:
    """And a piece survives the way through S3 with its ETag."""
    files = laid_out.fetch(tmp_path)
    assert (files.records_path.read_bytes(), files.predictions_path.read_bytes()) == (b"1,2\n", b"99.5\n")
    paths = InputLayoutPaths("s3://bucket/run/layout/")
    merged = replace(laid_out.piece, sources=laid_out.piece.sources * 2, records=3, etag=None)
    write_join_group(laid_out.storage, paths, 0, [laid_out.piece, merged])
    assert read_join_group(laid_out.storage, paths, 0) == [laid_out.piece, merged]


@pytest.mark.parametrize("uri", [f"{PIECES}0000000.csv", f"{ANSWERS}0000000.csv.out"])
@pytest.mark.parametrize("content", [None, b"9"])
def test_what_was_changed_since_is_named(
    laid_out: PieceSource, tmp_path: Path, uri: str, content: bytes | None
) -> None:
    """A piece since `cut_input` made it, answers since their job left them; also where no job has left any."""
    if content is None:
        laid_out.storage.delete([uri])
    else:
        laid_out.storage.write(uri, content)
    with pytest.raises(
        ReconciliationError, match=f"^{uri}(, which| no longer exists| is not what| was overwritten)"
    ):
        laid_out.fetch(tmp_path)
    with pytest.raises(ReconciliationError):
        replace(laid_out, piece=replace(laid_out.piece, uri=f"{PIECES}0000001.csv")).fetch(tmp_path)
