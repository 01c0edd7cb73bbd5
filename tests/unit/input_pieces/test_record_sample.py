"""What the first bytes of an object show before a run, read as the preprocessing job reads them."""

from __future__ import annotations

import gzip
import io
import json
import re
from typing import Any

import pandas
import pytest

from batch_inference.input_pieces.record_sample import (
    MAX_TEXT_BYTES,
    ObjectStart,
    sample_records,
    summarize_samples,
)
from batch_inference.jobs.common.errors import InputError
from batch_inference.jobs.config.preprocess_config import PreprocessConfig, parse_config
from batch_inference.jobs.preprocess.objects import decompress_start
from batch_inference.requests.sagemaker import build_record_settings
from tests.unit.builders import pipeline

URI = "s3://data/in/a"
GOOD = b"x1,30,1\nx2,40,0\n"


def config(**source: Any) -> PreprocessConfig:
    """That of a pipeline with these fields of `input`."""
    rules = [{"rule": "range", "column": "age", "min": 18}]
    made = pipeline(
        {
            "rules": rules,
            "features": {"columns": ["age"]},
            **{f"input.{name}": value for name, value in source.items()},
        }
    )
    document = {"version": 1, "pipeline": "churn", "input_uri": "", "distribution": "ShardedByS3Key"}
    return parse_config({**document, "shard_bytes": 1, **build_record_settings(made)})


def judge(data: bytes, *, size: int | None = None, **source: Any) -> tuple[str | None, str | None]:
    """The problem and the sentence about an object that begins with `data`."""
    found = sample_records(ObjectStart(URI, data, len(data) if size is None else size), config(**source))
    return summarize_samples([found])


def to_parquet(**columns: list[Any]) -> bytes:
    """A file with these columns."""
    file = io.BytesIO()
    pandas.DataFrame(columns).to_parquet(file)
    return file.getvalue()


GOOD_PARQUET = to_parquet(id=["x1", "x2"], age=[30, 40])


@pytest.mark.parametrize(
    ("data", "source"),
    [
        (GOOD, {}),
        (b"label,id,age\n1,x1,30\n0,x2,40\n", {"header": True}),
        (b"x1;30;1\nx2;40;0\n", {"delimiter": ";"}),
        (b'{"id": "x1", "age": 30}\n{"id": "x2", "age": 40}\n', {"format": "jsonlines"}),
        (gzip.compress(GOOD, mtime=0), {"compression": "gzip"}),
        (gzip.compress(GOOD, mtime=0), {"compression": "auto"}),
        (GOOD, {"compression": "auto"}),
        (GOOD.decode().encode("utf-16"), {"encoding": "utf-16"}),
        (b'"x\n1",30,1\nx2,40,0\n', {}),
        (GOOD_PARQUET, {"format": "parquet"}),
        (GOOD.replace(b"\n", b"\r"), {}),
        (b"id,age,label\r" + GOOD.replace(b"\n", b"\r"), {"header": True}),
    ],
)
def test_records_as_the_file_says_pass(data: bytes, source: dict[str, Any]) -> None:
    assert judge(data, **source) == (None, "Of 2 sampled records in 1 object, none would be rejected.")


def test_a_sample_ends_with_its_last_whole_record() -> None:
    """The object goes on: in the middle of a cell, of quotes, of a gzip block, of a character."""
    expected = (None, "Of 2 sampled records in 1 object, none would be rejected.")
    assert judge(GOOD + b"x3,5", size=10_000) == expected
    assert judge(GOOD + b'"x\n3', size=10_000) == expected
    assert judge((GOOD + b"x3").decode().encode("utf-16")[:-1], size=10_000, encoding="utf-16") == expected
    packed = gzip.compress(GOOD * 20_000)
    problem, sentence = judge(packed[: len(packed) // 2], size=len(packed), compression="gzip")
    assert problem is None
    assert "none would be rejected" in str(sentence)
    assert judge(b"a line without an end", size=10_000) == (None, None)


@pytest.mark.parametrize(
    ("data", "source", "said"),
    [
        (b"x1;30;1\nx2;40;0\n", {}, r"all 2 sampled .*1 cell with the delimiter ',', and 3 with ';'.*to ';'"),
        (b"x1,30,1,7\n" * 2, {}, r"would be rejected, .*'arity' \(record 1: 4 fields, allowed are 2 to 3\)"),
        (GOOD.decode().encode("utf-16-le"), {}, "NUL characters, as utf-16 has: set input.encoding"),
        (b"30,x1,1\n40,x2,0\n", {}, r"'type' \(record 1: age is 'x1', allowed is a whole number"),
        (b'{"id": "x1", "age": 30}\n', {}, "JSON objects: set input.format to jsonlines"),
        (GOOD, {"format": "jsonlines"}, "The first line is 'x1,30,1': set input.format to csv"),
    ],
)
def test_records_that_would_all_be_rejected_are_a_problem(
    data: bytes, source: dict[str, Any], said: str
) -> None:
    problem, sentence = judge(data, **source)
    assert sentence is None
    assert re.search(said, str(problem)), problem


@pytest.mark.parametrize(
    ("data", "source", "said"),
    [
        (b"id,age,label\nx1,30,1\n", {}, "names of the columns, and input.header is false"),
        (GOOD, {"header": True}, "unknown column 'x1', '30', '1'.*set input.header to false"),
        (b"id;age\nx1;30\n", {"header": True}, "unknown column 'id;age'.*set input.delimiter to ';'"),
        (b"id,years\nx1,30\n", {"header": True}, "unknown column 'years'; the pipeline names id, age, label"),
        (gzip.compress(GOOD, mtime=0), {}, "gzip data; set input.compression to gzip"),
        (GOOD, {"compression": "gzip"}, "is not gzip data; set input.compression to none"),
        (GOOD.decode().encode("utf-16"), {}, "written in utf-16, not utf-8; set input.encoding"),
        (GOOD_PARQUET, {}, "a Parquet file; set input.format to parquet"),
        (GOOD, {"format": "parquet"}, "is not a Parquet file"),
        (to_parquet(id=["x"], years=[3]), {"format": "parquet"}, "has no column age; it has id, years"),
        (
            b'{"key": 1, "years": 30}\n',
            {"format": "jsonlines"},
            "no record has id, age; they have key, years",
        ),
    ],
)
def test_an_object_at_which_the_job_would_fail_is_a_problem(
    data: bytes, source: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        judge(data, **source)


def test_a_bad_record_alone_is_no_problem() -> None:
    """The job would keep it aside, as it does among others; and a long cell is no reason to fail."""
    cases: list[tuple[bytes, dict[str, Any]]] = [
        (b"x1,many,1\n", {}),
        (b'{"id": "x1"\n', {"format": "jsonlines"}),
    ]
    for data, source in cases:
        problem, sentence = judge(data, **source)
        assert problem is None
        assert "1 would be rejected" in str(sentence)
    long = b"y" * (1 << 21) + b",30,1\n"
    assert judge(GOOD + long)[0] is None
    assert judge(long + GOOD, size=10_000_000)[0] is None


def test_a_parquet_file_whose_footer_is_longer_than_what_was_read_is_not_looked_at() -> None:
    start = ObjectStart(URI, GOOD_PARQUET[-20:], len(GOOD_PARQUET))
    assert not start.has_whole_footer
    assert summarize_samples([sample_records(start, config(format="parquet"))]) == (None, None)
    broken = ObjectStart(URI, b"\0" * 100 + (50).to_bytes(4, "little") + b"PAR1", 10_000)
    with pytest.raises(InputError, match=f"{URI} cannot be read to its end"):
        sample_records(broken, config(format="parquet"))


def test_of_parquet_the_end_is_enough() -> None:
    """Its footer has the names; no row is read."""
    data = to_parquet(id=["x1"] * 50_000, age=list(range(50_000)))
    start = ObjectStart(URI, data[-20_000:], len(data))
    assert not start.is_whole
    assert summarize_samples([sample_records(start, config(format="parquet"))]) == (None, None)
    data = to_parquet(key=["x1"] * 50_000, age=list(range(50_000)))
    with pytest.raises(InputError, match="has no column id; it has age, key"):
        sample_records(ObjectStart(URI, data[-20_000:], len(data)), config(format="parquet"))


def test_a_member_that_is_rare_is_no_problem_before_the_run() -> None:
    """The beginning of an object does not show that no record has it; the whole object does."""
    line = json.dumps({"id": "x1"}).encode() + b"\n"
    assert judge(line, size=10_000, format="jsonlines")[0] is None
    with pytest.raises(InputError, match="no record has age"):
        judge(line, format="jsonlines")


def test_rejects_by_the_rules_of_the_pipeline_are_a_sentence() -> None:
    """Even all of them: input may be sorted, and max_rejected decides on the whole."""
    problem, sentence = judge(b"x1,3,1\nx2,4,0\nx3,30,1\nx4\n")
    assert problem is None
    assert sentence == (
        "Of 4 sampled records in 1 object, 3 would be rejected, 2 of them by 'age in range'; such as, in "
        "s3://data/in/a: 'age in range' (record 1: age is 3, allowed is at least 18)."
    )
    assert judge(b"x1,3,1\n")[0] is None


def test_as_much_is_decompressed_as_there_is() -> None:
    packed = gzip.compress(b"1,a,2\n" * 1000)
    assert decompress_start(packed, "gzip") == b"1,a,2\n" * 1000
    broken_off = decompress_start(gzip.compress(b"1,a,2\n" * 10_000)[:-10], "gzip")
    assert 50_000 < len(broken_off) <= 60_000
    repetitive = gzip.compress(GOOD * 1_000_000)
    assert MAX_TEXT_BYTES <= len(decompress_start(repetitive, "gzip", MAX_TEXT_BYTES)) < 2 * MAX_TEXT_BYTES
    sample = sample_records(ObjectStart(URI, repetitive, len(repetitive)), config(compression="gzip"))
    assert 500_000 < sample.records < 1_100_000
    assert (b"1,a,2\n" * 10_000).startswith(broken_off)
