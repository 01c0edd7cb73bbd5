"""Shards in pieces: names that say it all, and pieces that together are the shard."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_inference.common.errors import ReconciliationError
from batch_inference.verification.shard_pieces import (
    RecordRanges,
    ShardPiece,
    ShardRecord,
    parse_piece_name,
    select_covering_pieces,
)


def shard(records: int, name: str = "algo-1-00003") -> ShardPiece:
    """A whole shard."""
    return ShardPiece(name, 1, records, ".csv", is_whole=True)


def test_a_name_says_which_records_of_which_shard_a_piece_holds() -> None:
    """Counted from 1, the last one included."""
    pieces = list(shard(20).split())
    assert [piece.name for piece in pieces] == [
        "algo-1-00003.1-5.csv",
        "algo-1-00003.6-10.csv",
        "algo-1-00003.11-15.csv",
        "algo-1-00003.16-20.csv",
    ]
    assert [each.name for each in pieces[3].split()] == [f"algo-1-00003.{n}-{n}.csv" for n in range(16, 21)]


def test_a_record_with_company_is_named_with_it() -> None:
    """The object holds two records; it is about the first."""
    company = ShardRecord("algo-2-00000", 7)
    pieces = list(shard(20).split())[3].split(company)
    assert [each.name for each in pieces] == [
        f"algo-1-00003.{n}-{n}.with.algo-2-00000.7.csv" for n in range(16, 21)
    ]
    alone = ShardPiece("algo-1-00003", 1, 1, ".csv", is_whole=True)
    (piece,) = alone.split(company)
    assert (piece.name, piece.record_count, piece.sent_count) == (
        "algo-1-00003.1-1.with.algo-2-00000.7.csv",
        1,
        2,
    )
    assert parse_piece_name(piece.name, {alone.name: alone}) == piece
    assert piece.record_range == alone.record_range


@given(st.data())
def test_spans_hold_what_is_within_a_piece(data: st.DataObject) -> None:
    """As a look at each record tells; pieces may hold others, and those with company count."""
    whole = shard(data.draw(st.integers(1, 40)))
    pieces = [
        whole,
        *(
            piece
            for part in whole.split()
            for piece in (part, *part.split(), *part.split(ShardRecord("x", 1)))
        ),
    ]
    held = data.draw(st.lists(st.sampled_from(pieces), unique=True))
    spans = RecordRanges(held)
    for piece in [*pieces, shard(whole.record_count, "algo-1-00004")]:
        expected = any(
            each.shard == piece.shard and each.first <= piece.first and piece.last <= each.last
            for each in held
        )
        assert (piece in spans) == expected


@given(st.integers(1, 3_000))
def test_pieces_are_the_shard_and_their_names_lead_back_to_them(records: int) -> None:
    """In two rounds every record is alone, and no round of a shard has more objects than about twice its root."""
    whole = shard(records)
    pieces = list(whole.split())
    singles = [single for piece in pieces for single in piece.split()]
    assert [(single.first, single.last) for single in singles] == [(n, n) for n in range(1, records + 1)]
    assert max(len(pieces), max(piece.record_count for piece in pieces)) <= records**0.5 + 2
    assert records == 1 or min(piece.record_count for piece in pieces) > 1, (
        "no piece of one, which a model may not answer"
    )
    assert [parse_piece_name(piece.name, {whole.name: whole}) for piece in pieces] == pieces
    assert parse_piece_name(whole.name, {whole.name: whole}) is whole


@given(st.data())
def test_answers_and_refusals_cover_a_shard_exactly(data: st.DataObject) -> None:
    """Whatever was answered whole, in pieces or alone; also when a piece and a record of it both were."""
    whole = shard(data.draw(st.integers(1, 60)))
    answered, refused, twice = [], [], []
    for piece in whole.split():
        singles = list(piece.split())
        if data.draw(st.booleans()):
            answered.append(piece)
            twice += data.draw(st.lists(st.sampled_from(singles), unique=True))
            continue
        gone = set(data.draw(st.lists(st.integers(0, len(singles) - 1), unique=True)))
        refused += [single for index, single in enumerate(singles) if index in gone]
        answered += [single for index, single in enumerate(singles) if index not in gone]
    found = select_covering_pieces(whole, [*answered, *twice], refused)
    assert [n for piece in found for n in range(piece.first, piece.last + 1)] == list(
        range(1, whole.record_count + 1)
    )
    assert set(found) - set(refused) <= set(answered) | set(twice)
    assert {piece for piece in found if piece in refused} == set(refused)


def test_a_record_that_is_in_no_piece_is_an_error_that_names_it() -> None:
    """Nothing is published with a hole that nobody can explain."""
    first, _, third = shard(9).split()
    with pytest.raises(
        ReconciliationError, match=r"shard algo-1-00003: record 4 is in no piece that was answered"
    ):
        select_covering_pieces(shard(9), [first, third], [])
    with pytest.raises(ReconciliationError, match=r"4-12\.csv goes beyond its 9 records"):
        select_covering_pieces(shard(9), [first, ShardPiece("algo-1-00003", 4, 12, ".csv")], [])


@pytest.mark.parametrize(
    "name", ["other.csv", "algo-1-00003.csv", "algo-1.0-3.csv", "algo-1.3.csv", "a/b.1-2.csv"]
)
def test_an_object_that_is_no_piece_is_refused_by_name(name: str) -> None:
    """It would be somebody else's."""
    with pytest.raises(ReconciliationError, match="is not a piece of a shard"):
        parse_piece_name(name, {})
