"""An input is cut at line ends inside S3, put together, or refused; never changed, and never from another version."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batch_inference.aws.s3 import Storage
from batch_inference.common.errors import ReconciliationError, RequestLintError
from batch_inference.config.pipeline import Pipeline
from batch_inference.input_pieces.cutting import list_unsplit_objects, write_pieces
from batch_inference.input_pieces.range_probe import WINDOW_BYTES, probe_objects
from batch_inference.planning.inputs.input_layout import LayoutPlan
from batch_inference.planning.inputs.input_listing import S3Object
from batch_inference.planning.inputs.input_split import MIN_SPLIT_BYTES
from batch_inference.verification.transform_objects import TransformObject, reconcile_pieces
from tests.unit.builders import pipeline, pipeline_without_preprocess

INPUT, TARGET = "s3://bucket/in/", "s3://bucket/work/pieces/"
PLAIN = pipeline_without_preprocess()
JSON = pipeline_without_preprocess({"input.format": "jsonlines"})


def layout(piece_bytes: int, merge_below_bytes: int = 0) -> LayoutPlan:
    return LayoutPlan(
        mode="pieces",
        jobs=1,
        piece_bytes=piece_bytes,
        merge_below_bytes=merge_below_bytes,
        objects=1,
        merged_objects=1000,
    )


@pytest.fixture(autouse=True)
def empty(storage: Storage) -> Iterator[None]:
    """Each test starts with an empty bucket."""
    yield
    storage.delete(storage.list_uris("s3://bucket/"))


def uploaded(storage: Storage, **contents: str | bytes) -> list[S3Object]:
    """These objects below the input; their listing."""
    for name, content in contents.items():
        storage.write(f"{INPUT}{name}", content)
    return list(storage.list_objects(INPUT))


def made(
    storage: Storage, objects: list[S3Object], of: LayoutPlan, pipeline: Pipeline = PLAIN
) -> list[TransformObject]:
    return write_pieces(storage, pipeline, of, INPUT, objects, TARGET)


def records(number: int, width: int = 40) -> str:
    """So many CSV records, of different lengths."""
    return "".join(f"{at:08d}{'x' * (at * 7 % width)},{at}\n" for at in range(number))


@pytest.mark.parametrize("final", ["\n", ""])
def test_a_large_object_is_cut_at_line_ends_and_not_a_byte_is_lost(storage: Storage, final: str) -> None:
    text = records(200_000).rstrip("\n") + final
    assert len(text) > MIN_SPLIT_BYTES
    objects = uploaded(storage, a=text)
    pieces = made(storage, objects, layout(700_000))
    assert len(pieces) == len(text) // 700_000
    contents = [storage.read(piece.uri).decode() for piece in pieces]
    assert "".join(contents) == text
    assert all(content.endswith("\n") for content in contents[:-1])
    assert [piece.bytes for piece in pieces] == [len(content) for content in contents]
    assert reconcile_pieces(objects, [(piece, 1) for piece in pieces]).shards == len(pieces)


def test_no_byte_of_a_large_object_passes_through_here(storage: Storage) -> None:
    """Only the looks at line ends do, of 64 KiB each."""
    objects = uploaded(storage, a=records(200_000))
    read: list[int] = []

    def count(parsed: dict[str, Any], **_: Any) -> None:
        read.append(parsed["ContentLength"])

    storage.client.meta.events.register("after-call.s3.GetObject", count)
    try:
        pieces = made(storage, objects, layout(700_000))
    finally:
        storage.client.meta.events.unregister("after-call.s3.GetObject", count)
    assert read == [WINDOW_BYTES] * (len(pieces) - 1)


def test_small_objects_are_put_together_and_their_records_counted(storage: Storage) -> None:
    objects = uploaded(storage, **{f"{at:03d}": f"a,{at}\nb,{at}" for at in range(100)})
    pieces = made(storage, objects, layout(250, merge_below_bytes=1000))
    assert sum(len(piece.sources) for piece in pieces) == 100
    text = "".join(storage.read(piece.uri).decode() for piece in pieces)
    assert text == "".join(f"a,{at}\nb,{at}\n" for at in range(100))
    assert sum(piece.records or 0 for piece in pieces) == 200
    assert reconcile_pieces(objects, [(piece, piece.records or 0) for piece in pieces]).scored == 200
    with pytest.raises(ReconciliationError, match="records were merged, but 0 rows were joined"):
        reconcile_pieces(objects, [(piece, 0) for piece in pieces])


def test_objects_between_are_copied_whole(storage: Storage) -> None:
    objects = uploaded(storage, a=records(200_000), b=records(20_000), c="x,1\n", d="y,2\n")
    pieces = made(storage, objects, layout(3_000_000, merge_below_bytes=1000))
    assert [len(piece.sources) for piece in pieces] == [1, 1, 1, 2]
    assert storage.read(pieces[2].uri).decode() == records(20_000)


def test_the_same_input_gives_the_same_pieces_again(storage: Storage) -> None:
    """A second try of the task writes them over the first one's."""
    objects = uploaded(storage, a=records(200_000), b="x,1\n", c="y,2\n")
    first = made(storage, objects, layout(900_000, merge_below_bytes=1000))
    contents = [storage.read(piece.uri) for piece in first]
    again = made(storage, objects, layout(900_000, merge_below_bytes=1000))
    assert again == first
    assert [storage.read(piece.uri) for piece in again] == contents


@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=st.lists(st.integers(1, 1_500_000), min_size=5, max_size=12),
    piece=st.integers(300_000, 4_000_000),
)
def test_long_and_short_lines_are_never_cut_apart(storage: Storage, lengths: list[int], piece: int) -> None:
    """Pieces that a line swallows are left out."""
    lines = [f'{{"v":"{"x" * length}"}}\n' for length in [*lengths, MIN_SPLIT_BYTES]]
    objects = uploaded(storage, a="".join(lines))
    pieces = made(storage, objects, layout(piece), JSON)
    contents = [storage.read(each.uri).decode() for each in pieces]
    assert "".join(contents) == "".join(lines)
    assert all(content.endswith("\n") for content in contents)
    reconcile_pieces(objects, [(each, 1) for each in pieces])
    storage.delete(storage.list_uris("s3://bucket/"))


def test_line_breaks_in_quotes_around_a_cut_are_found_and_refused(storage: Storage) -> None:
    text = "".join(f'"{at:08d}\nsecond line",{at}\n' for at in range(200_000))
    objects = uploaded(storage, a=text)
    with pytest.raises(RequestLintError, match=r"a: a line behind byte .* has an odd number of quotes"):
        made(storage, objects, layout(1_000_000))
    assert storage.list_uris(TARGET) == []


def test_a_record_longer_than_a_request_is_refused_where_it_would_be_cut(storage: Storage) -> None:
    pipeline = pipeline_without_preprocess({"transform.max_payload_mb": 1})
    objects = uploaded(storage, a="x,1\n" + "y" * 6_000_000 + ",2\n")
    with pytest.raises(RequestLintError, match=r"no line ends within .* and a request holds 1 MB"):
        write_pieces(storage, pipeline, layout(1_500_000), INPUT, objects, TARGET)


@pytest.mark.parametrize("content", [records(200_000), records(10)], ids=["cut", "put together"])
def test_an_object_that_was_overwritten_since_the_plan_is_refused(storage: Storage, content: str) -> None:
    planned = uploaded(storage, a=content, b=content)
    uploaded(storage, b=content.replace("x", "y").replace("00000001", "00000002"))
    with pytest.raises(ReconciliationError, match="in/b was overwritten after the run was planned"):
        made(storage, planned, layout(900_000, merge_below_bytes=1000))


def test_an_object_that_was_overwritten_since_it_was_listed_is_no_problem_of_the_sample(
    storage: Storage,
) -> None:
    """With preprocessing, the job reads the input later."""
    planned = uploaded(storage, a="x1,30,1\n", b="x2,30,1\n")
    uploaded(storage, b="x3,40,1\n")
    looked_at = probe_objects(storage, pipeline(), INPUT, planned)
    assert "could not look at s3://bucket/in/b" in looked_at.sentences[0]
    assert looked_at.sentences[1:] == ("Of 1 sampled record in 1 object, none would be rejected.",)


def test_an_object_that_is_gone_since_the_plan_is_named(storage: Storage) -> None:
    planned = uploaded(storage, a=records(200_000))
    storage.delete([f"{INPUT}a"])
    with pytest.raises(ReconciliationError, match="in/a no longer exists, but did when the run was planned"):
        made(storage, planned, layout(900_000))


def test_input_that_is_left_where_it_lies_is_each_object_once(storage: Storage) -> None:
    objects = uploaded(storage, a="x,1\n", b="", c="y,2\n")
    pieces = list_unsplit_objects(INPUT, objects)
    assert [piece.uri for piece in pieces] == [f"{INPUT}a", f"{INPUT}c"]
    assert reconcile_pieces(objects, [(piece, 1) for piece in pieces]).scored == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("quoted", 'a,1\n"b\nc",2\n', "in/quoted: line 2 has an odd number of quotes"),
        ("wide", "a,1,2\n", "in/wide: line 1 has 3 cells, and input.columns names 2"),
        ("packed", gzip.compress(b"a,1\n", mtime=0), "in/packed: found gzip data"),
        ("table", b"PAR1....PAR1", "in/table: found a Parquet file"),
        ("late", records(9_000) + 'b,"c\nd"\n' + records(9_000), "in/late: a line behind byte .* odd number of quotes"),
    ],
)  # fmt: skip
def test_what_the_model_cannot_be_given_is_seen_before_anything_is_spent(
    storage: Storage, name: str, content: str | bytes, message: str
) -> None:
    objects = uploaded(storage, fine="a,1\n", **{name: content})
    with pytest.raises(RequestLintError, match=message):
        probe_objects(storage, PLAIN, INPUT, objects)


def test_a_look_tells_of_column_names_and_of_the_longest_record(storage: Storage) -> None:
    told = probe_objects(storage, PLAIN, INPUT, uploaded(storage, a="id,age\nsomebody,30\n"))
    assert (told.has_header, told.largest_record_bytes) == (True, 11)
    plain = uploaded(storage, a="x,1\n", **{f"b{at:04d}": "somebody,1\n" for at in range(40)})
    assert probe_objects(storage, PLAIN, INPUT, plain).has_header is False


def test_packed_objects_are_looked_at_as_text(storage: Storage) -> None:
    pipeline = pipeline_without_preprocess({"input.compression": "gzip"})
    lines = "".join(f"{at},{at}\n" for at in range(300_000)).encode()
    assert (
        probe_objects(storage, pipeline, INPUT, uploaded(storage, a=gzip.compress(lines))).has_header is False
    )
    with pytest.raises(RequestLintError, match="line 2 has an odd number of quotes"):
        probe_objects(storage, pipeline, INPUT, uploaded(storage, a=gzip.compress(b'a,1\n"b\nc",2\n')))


def test_json_lines_are_looked_at_and_put_together_too(storage: Storage) -> None:
    objects = uploaded(storage, **{f"{at}": json.dumps({"id": at, "age": 1}) for at in range(9)})
    assert probe_objects(storage, JSON, INPUT, objects).largest_record_bytes == 19
    (piece,) = made(storage, objects, layout(10_000, merge_below_bytes=1000), JSON)
    assert piece.records == 9
    assert [json.loads(line)["id"] for line in storage.read(piece.uri).splitlines()] == list(range(9))


def test_a_member_that_no_record_has_is_told_before_anything_is_paid(storage: Storage) -> None:
    """As where it was renamed upstream; the model would be sent records without it."""
    objects = uploaded(storage, a='{"id": 1, "agee": 2}\n', b='{"id": 2}\n')
    with pytest.raises(
        RequestLintError, match="none of the records that were looked at has age; they have agee, id; correct"
    ):
        probe_objects(storage, JSON, INPUT, objects)
    assert probe_objects(storage, JSON, INPUT, uploaded(storage, c='{"age": null}\n', d='{"id": 2}\n'))
