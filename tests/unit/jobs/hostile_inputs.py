"""The hostile corpus: inputs and answers that are not what a pipeline expects, each with what happens to it.

`python -m tests.unit.jobs.hostile_inputs` (PYTHONPATH=.) runs each and writes docs/reference/troubleshooting.md from
the messages of these runs; the test beside this file fails when that page differs.
"""

from __future__ import annotations

import functools
import gzip
import io
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from batch_inference.jobs.common.container import Container
from batch_inference.jobs.common.errors import JobError
from batch_inference.jobs.config.join_spec import JoinSpec, ShardFiles
from batch_inference.jobs.config.preprocess_config import parse_config
from batch_inference.jobs.join.aligned_join import join_shards
from batch_inference.jobs.preprocess.preprocess_job import preprocess
from tests.unit.jobs.containers import columns, config, put

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "troubleshooting.md"
#: Without the time of day.
gzip_bytes = functools.partial(gzip.compress, mtime=0)
AB = columns(id="string", x="float", n="integer?")


def zstd(text: bytes) -> bytes:
    return bytes(pa.compress(text, "zstd", asbytes=True))


def parquet(**data: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(data), file)
    return file.getvalue()


def parquet_twice() -> bytes:
    file = io.BytesIO()
    columns_twice = [pa.array([1.0]), pa.array(["a"]), pa.array([2.0])]
    pq.write_table(pa.Table.from_arrays(columns_twice, names=["x", "id", "x"]), file)
    return file.getvalue()


@dataclass(frozen=True)
class FatalObject:
    """An object that ends the job."""

    description: str
    content: bytes | Callable[[], bytes]
    changes: dict[str, Any] = field(default_factory=dict)

    def outcome(self, folder: Path) -> str:
        """The job's message."""
        content = self.content if isinstance(self.content, bytes) else self.content()
        try:
            run(folder, content, self.changes)
        except JobError as error:
            return str(error)
        raise AssertionError(f"{self.description}: nothing happened")


@dataclass(frozen=True)
class RejectedRecord:
    """A record that is rejected; `keeps` are the records around it, which must all pass."""

    description: str
    line: bytes
    changes: dict[str, Any] = field(default_factory=dict)
    before: bytes = b"k,1\n"
    after: bytes = b"l,2\n"

    def outcome(self, folder: Path) -> str:
        """Rule and reason of the one reject."""
        manifest, output = run(folder, self.before + self.line + b"\n" + self.after, self.changes)
        rejects = [
            json.loads(line)
            for path in (output / "rejects").iterdir()
            for line in path.read_bytes().decode().split("\n")[:-1]
        ]
        kept = self.before.count(b"\n") + self.after.count(b"\n")
        assert (len(rejects), manifest["records_out"]) == (1, kept), (self.description, rejects, manifest)
        return f"{rejects[0]['rule']}: {rejects[0]['reason']}"


@dataclass(frozen=True)
class UnjoinablePrediction:
    """A model's answers to the records `a,1` and `b,2` that cannot be joined."""

    description: str
    answers: bytes
    predictions: dict[str, Any] = field(default_factory=dict)

    def outcome(self, folder: Path) -> str:
        """The join's message; no output is left."""
        put(folder, {"records": b"a,1\nb,2\n", "answers": self.answers})
        predictions = {"format": "jsonlines", "fields": {"score": "score"}, **self.predictions}
        kinds = [{"name": "id", "type": "string"}, {"name": "x", "type": "float"}]
        spec = JoinSpec.from_dict({"columns": kinds, "output_format": "csv", "predictions": predictions})
        files = ShardFiles("algo-1-00000", folder / "records", folder / "answers", ["id", "x"])
        try:
            join_shards([files], folder / "out.csv", spec)
        except JobError as error:
            assert not (folder / "out.csv").exists(), self.description
            return str(error)
        raise AssertionError(f"{self.description}: nothing happened")


def run(folder: Path, content: bytes, changes: dict[str, Any]) -> tuple[dict[str, Any], Path]:
    """Preprocess one object in this process; the manifest and where the output is."""
    put(folder / "processing" / "input" / "data", {"one.csv": content})
    container = Container(folder, "algo-1", ("algo-1",))
    kinds = changes.get("columns", AB)
    wanted = {key: value for key, value in changes.items() if key != "columns"}
    return preprocess(container, parse_config(config(kinds, **wanted))), container.output_dir


def rule(**keys: Any) -> dict[str, Any]:
    """Changes of a pipeline that has this one rule."""
    return {"rules": [{"name": keys["rule"], **keys}]}


JSON: dict[str, Any] = {
    "changes": {"input_format": "jsonlines"}, "before": b'{"id":"k","x":1}\n', "after": b'{"id":"l","x":2}\n',
}  # fmt: skip
CSV_ANSWERS: dict[str, Any] = {"format": "csv", "fields": {"0": "score"}}
BASELINE = {"x": {"q1": 1.0, "q3": 2.0}}

OBJECTS = (
    FatalObject("gzip, and the pipeline says nothing of it", gzip_bytes(b"a,1\n")),
    FatalObject("not gzip, and the pipeline says gzip", b"a,1\n", {"input_compression": "gzip"}),
    FatalObject("gzip that was cut off", gzip_bytes(b"a,1\n" * 999)[:-9], {"input_compression": "gzip"}),
    FatalObject(
        "gzip with damaged bytes", gzip_bytes(b"a,1\n")[:12] + b"\xff" * 9, {"input_compression": "gzip"}
    ),
    FatalObject("zstd, and the pipeline says nothing of it", zstd(b"a,1\n")),
    FatalObject("not zstd, and the pipeline says zstd", b"a,1\n", {"input_compression": "zstd"}),
    FatalObject("zstd that was cut off", zstd(b"a,1\n" * 999)[:-5], {"input_compression": "auto"}),
    FatalObject("a zip archive", b"PK\x03\x04...."),
    FatalObject("bzip2", b"BZh91AY&SY...."),
    FatalObject("xz", b"\xfd7zXZ\x00...."),
    FatalObject("Parquet, and the pipeline says csv", parquet(id=["a"], x=[1.0])),
    FatalObject("Parquet with a column twice", parquet_twice, {"input_format": "parquet"}),
    FatalObject(
        "JSON Lines of which no record has a member that is required",
        b'{"id": "a", "amount": 1}\n{"id": "b"}\n',
        {"input_format": "jsonlines"},
    ),
    FatalObject("CSV, and the pipeline says parquet", b"id,x\na,1\n", {"input_format": "parquet"}),
    FatalObject("Parquet without a column", parquet(id=["a"]), {"input_format": "parquet"}),
    FatalObject("Parquet that was cut off", parquet(id=["a"], x=[1.0])[:-9], {"input_format": "parquet"}),
    FatalObject(
        "Parquet with a date behind the year 9999",
        lambda: parquet(id=pa.array([99_999_999], pa.int32()).cast(pa.date32()), x=[1.0]),
        {"input_format": "parquet"},
    ),
    FatalObject("UTF-16, and the pipeline says utf-8", "a,1\n".encode("utf-16")),
    FatalObject("half a character of UTF-16", b"a\x00,\x001", {"input_encoding": "utf-16"}),
    FatalObject(
        "a header with a name that the pipeline does not know", b"id,y\na,1\n", {"input_header": True}
    ),
    FatalObject("a header that lacks a column", b"id\na\n", {"input_header": True}),
    FatalObject("a header with a column twice", b"id,x,x\na,1,2\n", {"input_header": True}),
    FatalObject("no header, and the pipeline says that there is one", b"a,1\nb,2\n", {"input_header": True}),
    FatalObject("a header in another case", b"ID,X\na,1\n", {"input_header": True}),
    FatalObject("no line break in 64 MB", lambda: b"a" * (66 << 20)),
)
RECORDS = (
    RejectedRecord("a field too few", b"a"),
    RejectedRecord("a field too many", b"a,1,2,3"),
    RejectedRecord("another delimiter", b"a;1"),
    RejectedRecord("a quote that is never closed", b'"a,1'),
    RejectedRecord("an object that is cut off inside a quoted field", b'"a,1', after=b""),
    RejectedRecord("a quote that a backslash escapes, and the pipeline says nothing of it", b'"a \\" b",1'),
    RejectedRecord("a quote amid a quoted field", b'"24" monitor",1'),
    RejectedRecord("a NUL character", b"a\0,1"),
    RejectedRecord("a byte outside of the encoding", b"caf\xe9,1"),
    RejectedRecord("text where a number belongs", b"a,one"),
    RejectedRecord("NaN", b"a,NaN"),
    RejectedRecord("infinity", b"a,inf"),
    RejectedRecord("a number too large for 64 bits", b"a,1e999"),
    RejectedRecord("a decimal comma", b'a,"1,5"'),
    RejectedRecord("a thousands separator", b"a,1_000"),
    RejectedRecord("a hexadecimal number", b"a,0x10"),
    RejectedRecord("a currency sign", b"a,$5"),
    RejectedRecord("digits of another script", "a,\uff11\uff12".encode()),
    RejectedRecord("a date where a number belongs", b"a,2026-01-31"),
    RejectedRecord("an integer with decimals", b"a,1,1.5", before=b"k,1,1\n", after=b"l,2,2\n"),
    RejectedRecord("an integer of 20 digits", b"a,1,12345678901234567890", before=b"k,1,1\n", after=b"l,2,2\n"),
    RejectedRecord("a line break in a feature", b'"two\nlines",1'),
    RejectedRecord("an empty cell that is required", b",1", rule(rule="required", columns=["id"])),
    RejectedRecord("a number out of its range", b"a,11", rule(rule="range", column="x", min=0, max=10)),
    RejectedRecord("a value that is not allowed", b"z,1", rule(rule="allowed", column="id", values=["k", "l"])),
    RejectedRecord(
        "a cell that a pattern does not match", b"A1,1", rule(rule="pattern", column="id", pattern="[a-z]+")
    ),
    RejectedRecord("a record for the second time", b"k,1", rule(rule="duplicates")),
    RejectedRecord(
        "a number far from the baseline's", b"a,9",
        {**rule(rule="outlier", column="x", method="iqr"), "baseline": BASELINE},
    ),
    RejectedRecord("JSON that breaks off", b'{"id": "a", "x": 1', **JSON),
    RejectedRecord("a JSON array", b'["a", 1]', **JSON),
    RejectedRecord("a member twice", b'{"id": "a", "x": 1, "x": 2}', **JSON),
    RejectedRecord("JSON that nests deep", b'{"id": ' + b"[" * 101 + b"]" * 101 + b', "x": 1}', **JSON),
    RejectedRecord("half a surrogate pair", b'{"id": "\\ud800", "x": 1}', **JSON),
    RejectedRecord("NaN in JSON", b'{"id": "a", "x": NaN}', **JSON),
    RejectedRecord("true where a number belongs", b'{"id": "a", "x": true}', **JSON),
    RejectedRecord("a list where a number belongs", b'{"id": "a", "x": [1]}', **JSON),
)  # fmt: skip
PREDICTIONS = (
    UnjoinablePrediction("an answer too few", b'{"score": 1}\n'),
    UnjoinablePrediction("an answer too many", b'{"score": 1}\n{"score": 2}\n{"score": 3}\n'),
    UnjoinablePrediction("no answers at all", b""),
    UnjoinablePrediction("gzip", gzip_bytes(b'{"score": 1}\n{"score": 2}\n')),
    UnjoinablePrediction("zstd", zstd(b'{"score": 1}\n{"score": 2}\n'), {"format": "auto"}),
    UnjoinablePrediction("a NumPy array", b"\x93NUMPY\x01\x00v\x00", CSV_ANSWERS),
    UnjoinablePrediction("UTF-16", '{"score": 1}\n{"score": 2}\n'.encode("utf-16")),
    UnjoinablePrediction("a blank line in place of an answer", b'{"score": 1}\n\n'),
    UnjoinablePrediction("null", b'{"score": 1}\n{"score": null}\n'),
    UnjoinablePrediction("NaN", b'{"score": NaN}\n{"score": 2}\n'),
    UnjoinablePrediction("a member twice", b'{"score": 1}\n{"score": 2, "score": 3}\n'),
    UnjoinablePrediction(
        "half a surrogate pair", b'{"label": "a"}\n{"label": "cut \\ud83d"}\n',
        {"fields": {"label": "label"}, "types": {"label": "string"}},
    ),
    UnjoinablePrediction("another member", b'{"score": 1}\n{"label": 2}\n'),
    UnjoinablePrediction("text where a number belongs", b'{"score": 1}\n{"score": "high"}\n'),
    UnjoinablePrediction("true where a number belongs", b'{"score": true}\n{"score": true}\n'),
    UnjoinablePrediction("an object where a number belongs", b'{"score": {"a": 1}}\n{"score": 2}\n'),
    UnjoinablePrediction("a page of HTML", b"<html>\n<body>Bad gateway</body>\n"),
    UnjoinablePrediction("CSV that lacks a column", b"1,2\n3\n", {"format": "csv", "fields": {"1": "score"}}),
    UnjoinablePrediction("CSV with an empty cell", b'1\n""\n', CSV_ANSWERS),
    UnjoinablePrediction("CSV with a carriage return inside an answer", b"1\n2\r3\n", CSV_ANSWERS),
    UnjoinablePrediction(
        "CSV that breaks off inside quotes",
        b'1,"low"\n2,"hi', {"format": "csv", "fields": {"1": "label"}, "types": {"label": "string"}},
    ),
    UnjoinablePrediction(
        "CSV with a quote that is not doubled",
        b'1,"low"\n2,"so "high""\n', {"format": "csv", "fields": {"1": "label"}, "types": {"label": "string"}},
    ),
    UnjoinablePrediction("CSV with NaN", b"1\nnan\n", CSV_ANSWERS),
    UnjoinablePrediction("a JSON document that breaks off", b'{"predictions": [{"score": 1}, {"sc', {"format": "json"}),
    UnjoinablePrediction("a document with an answer too few", b'{"predictions": [{"score": 1}]}', {"format": "json"}),
    UnjoinablePrediction(
        "answers in another order, of a model that echoes the id",
        b'{"score": 1, "id": "b"}\n{"score": 2, "id": "a"}\n', {"echo": {"id": "id"}},
    ),
)  # fmt: skip

#: What AWS lacks, and the message of `plan`; a test of wrong set-ups compares them with the embedded AWS.
SETUPS = (
    (
        "no bucket, here of the output",
        ("output.uri: found the bucket absent, which does not exist; create it, or correct the URI"),
    ),
    (
        "no bucket of the work",
        ("work: found the bucket absent, which does not exist; create it, or correct the URI"),
    ),
    (
        "a bucket of another region",
        (
            "work: found the bucket elsewhere in eu-west-1, and the jobs run in us-east-1; SageMaker's jobs "
            "use buckets of their own region; use a bucket of us-east-1, or set region: eu-west-1"
        ),
    ),
    (
        "no archive of the model",
        (
            "model: found no object at s3://bucket/model/absent.tar.gz, the archive that a container of the "
            "model loads; upload it ('batch-inference model PIPELINE MODEL_FILE'), or correct the URI"
        ),
    ),
    (
        "no model of this name",
        (
            "model.name: found 'no-such', which SageMaker does not have in this account and region (Could "
            'not find model "arn:aws:sagemaker:us-east-1:123456789012:model/no-such".); correct it, or look '
            "at region and aws_conn_id of the pipeline"
        ),
    ),
    (
        "no role",
        (
            "role: arn:aws:iam::123456789012:role/nobody does not exist in the account of "
            "Airflow's connection; correct the ARN, or create the role with the policies that "
            "'batch-inference iam' prints"
        ),
    ),
    (
        "a role with another path",
        (
            "role: found arn:aws:iam::123456789012:role/other/scoring, and IAM's role of that name is "
            "arn:aws:iam::123456789012:role/scoring; write that ARN"
        ),
    ),
    (
        "a role of another service",
        (
            "role: found arn:aws:iam::123456789012:role/of-lambda, whose trust policy does not let "
            "sagemaker.amazonaws.com assume it (sts:AssumeRole); replace the trust policy by the one that "
            "'batch-inference iam' prints"
        ),
    ),
    (
        "no object below the prefix of the wheels",
        (
            "preprocess.wheels: found nothing below s3://bucket/wheels/; upload the .whl files, correct the "
            "prefix, or drop preprocess.wheels"
        ),
    ),
    (
        "other objects there",
        (
            "preprocess.wheels: found no wheel below s3://bucket/model/; upload the .whl files, correct the "
            "prefix, or drop preprocess.wheels"
        ),
    ),
)

HEAD = """# Troubleshooting

Faulty data, and the messages about it: {cases} kinds of bad objects, records and predictions. Generated by `make docs`
from the real messages of the jobs; a test runs each case. The pipeline has the columns `id` (text), `x` (number) and,
optional, `n` (whole number). The [runbook](../operations/runbook.md#when-the-data-is-wrong) says what to do.

## Objects that end the job

The run scores nothing. The message is in the job's `ExitMessage`, the sensor's error, and the last line of its log.

| input | message |
|---|---|
"""
REJECTED = """
## Records that are rejected

The run continues without them, up to `max_rejected`. `rejects/*.jsonl` below the job's prefix has rule and reason of
each, with its object, line and text.

| record | rule and reason |
|---|---|
"""
UNJOINED = """
## Predictions that cannot be joined

Nothing is published; the predictions are below `predictions/` of the transform job's prefix. The shard of these cases
has the records `a,1` and `b,2`.

| predictions | message |
|---|---|
"""
ABSENT = """
## What `plan` does not find in AWS

No job is started. [Runs](../guides/runs.md#what-plan-checks) says what `plan` looks at. Of the objects above, it finds
most in the first records, with the same message.

| what AWS lacks | message |
|---|---|
"""


Case = FatalObject | RejectedRecord | UnjoinablePrediction
CASES: tuple[Case, ...] = (*OBJECTS, *RECORDS, *PREDICTIONS)


def row(case: Case, folder: Path) -> str:
    """A line of the page, from running the case."""
    return f"| {case.description} | `{escape_cell(case.outcome(folder))}` |\n"


def rows(cases: tuple[Case, ...]) -> str:
    """A table's lines."""
    lines = []
    for case in cases:
        with tempfile.TemporaryDirectory() as folder:
            lines.append(row(case, Path(folder)))
    return "".join(lines)


def escape_cell(text: str) -> str:
    """Text for a cell of a table; what is between backticks stays as it is but for bars and line breaks."""
    return " ".join(text.split()).replace("|", "\\|").replace("`", "'")


def page() -> str:
    """docs/reference/troubleshooting.md."""
    setups = "".join(f"| {what} | `{message}` |\n" for what, message in SETUPS)
    bad = [rows(OBJECTS), REJECTED, rows(RECORDS), UNJOINED, rows(PREDICTIONS)]
    return "".join([HEAD.format(cases=len(CASES)), *bad, ABSENT, setups])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
