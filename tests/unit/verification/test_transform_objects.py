"""Nothing is published unless the pieces that were scored are the planned objects, each byte of each once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_inference.common.errors import ReconciliationError
from batch_inference.planning.inputs.input_split import ByteRange, group_neighbours, split_objects
from batch_inference.verification.transform_objects import TransformObject, reconcile_pieces
from tests.unit.builders import objects

LISTING = objects([20_000_000, 300, 300, 7_000_000])
PIECES = [
    TransformObject(
        at, f"s3://work/{at}", sum(span.bytes for span in piece), piece, 10 if len(piece) > 1 else None
    )
    for at, piece in enumerate(
        split_objects(LISTING, piece_bytes=6_000_000, merge_below_bytes=1000, is_splittable=True)
    )
]


def bent(position: int, **changes: object) -> list[tuple[TransformObject, int]]:
    """All pieces with ten rows each; the first source of one of them is changed."""
    made = list(PIECES)
    span = replace(made[position].sources[0], **changes)  # type: ignore[arg-type]
    made[position] = replace(made[position], sources=(span, *made[position].sources[1:]))
    return [(piece, 10) for piece in made]


def test_what_adds_up_is_counted() -> None:
    proved = reconcile_pieces(LISTING, [(piece, 10) for piece in PIECES])
    assert (proved.records_in, proved.scored, proved.rejected_count, proved.shards) == (50, 50, 0, 5)


@pytest.mark.parametrize(
    ("joined", "message"),
    [
        ([(piece, 10) for piece in PIECES[1:]], "in/00000.csv: bytes 0 to 6,666,666 were never scored"),
        ([(piece, 10) for piece in PIECES if piece.position != 3], "in/00003.csv was planned but never scored"),
        ([(piece, 10) for piece in [*PIECES, PIECES[1]]], "in/00000.csv: bytes .* were scored twice"),
        (bent(0, etag="other"), "in/00000.csv: what was scored has the etag other, and the plan was made for 20000000"),
        (bent(1, start=6_666_670), "bytes 6,666,666 to 6,666,670 were never scored"),
        (bent(2, end=19_999_999), "in/00000.csv was scored to byte 19,999,999 of 20,000,000 only"),
        (bent(3, key="in/strange.csv"), "in/00003.csv was planned but never scored"),
        ([*bent(0), (TransformObject(9, "s3://w/9", 1, (ByteRange("in/new", "e", 0, 1, 1),)), 1)], "in/new was scored"),
        (
            [(piece, 9 if piece.records else 10) for piece in PIECES],
            "10 records were merged, but 9 rows were joined",
        ),
    ],
)  # fmt: skip
def test_what_does_not_is_refused_with_the_first_object(
    joined: list[tuple[TransformObject, int]], message: str
) -> None:
    with pytest.raises(ReconciliationError, match=message):
        reconcile_pieces(LISTING, joined)


@given(sizes=st.lists(st.integers(1, 1000), max_size=60), most=st.integers(1, 2000))
def test_groups_are_all_pieces_in_order_and_none_is_larger_than_it_must_be(
    sizes: list[int], most: int
) -> None:
    pieces = [TransformObject(at, f"s3://w/{at}", size, ()) for at, size in enumerate(sizes)]
    groups = [pieces[group.start : group.stop] for group in group_neighbours(pieces, most)]
    assert [piece for group in groups for piece in group] == pieces
    assert all(len(group) == 1 or sum(piece.bytes for piece in group) <= most for group in groups)
    assert all(groups)
