"""The hostile corpus: inputs and answers that are not what a pipeline expects, each with what happens to it.

`python -m tests.jobs.hostile` (PYTHONPATH=.) runs each and writes docs/troubleshooting.md from what was really said;
the test beside this file fails when that page says anything else.
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

from include.jobs.config import parse_config
from include.jobs.container import Container
from include.jobs.errors import JobError
from include.jobs.join import JoinSpec, ShardFiles, join_group
from include.jobs.preprocess import preprocess
from tests.jobs.containers import columns, config, put

PAGE = Path(__file__).resolve().parents[2] / "docs" / "troubleshooting.md"
#: Without the time of day.
zipped = functools.partial(gzip.compress, mtime=0)
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
class Object:
    """An object that ends the job."""

    what: str
    content: bytes | Callable[[], bytes]
    changes: dict[str, Any] = field(default_factory=dict)

    def outcome(self, folder: Path) -> str:
        """The job's message."""
        content = self.content if isinstance(self.content, bytes) else self.content()
        try:
            run(folder, content, self.changes)
        except JobError as error:
            return str(error)
        raise AssertionError(f"{self.what}: nothing happened")


@dataclass(frozen=True)
class Record:
    """A record that is rejected; `keeps` are the records around it, which must all pass."""

    what: str
    line: bytes
    changes: dict[str, Any] = field(default_factory=dict)
    before: bytes = b"k,1\n"
    after: bytes = b"l,2\n"

    def outcome(self, folder: Path) -> str:
        """Rule and reason of the one reject."""
        manifest, output = run(folder, self.before + self.line + b"\n" + self.after, self.changes)
        rejects = [
            json.loads(line)
            for key in manifest["rejects_files"]
            for line in (output / key).read_bytes().decode().split("\n")[:-1]
        ]
        kept = self.before.count(b"\n") + self.after.count(b"\n")
        assert (len(rejects), manifest["records_out"]) == (1, kept), (self.what, rejects, manifest)
        return f"{rejects[0]['rule']}: {rejects[0]['reason']}"


@dataclass(frozen=True)
class Answer:
    """A model's answers to the records `a,1` and `b,2` that cannot be joined."""

    what: str
    answers: bytes
    predictions: dict[str, Any] = field(default_factory=dict)

    def outcome(self, folder: Path) -> str:
        """The join's message; no output is left."""
        put(folder, {"records": b"a,1\nb,2\n", "answers": self.answers})
        predictions = {"format": "jsonlines", "fields": {"score": "score"}, **self.predictions}
        kinds = [{"name": "id", "type": "string"}, {"name": "x", "type": "float"}]
        spec = JoinSpec.from_dict({"columns": kinds, "format": "csv", "predictions": predictions})
        files = ShardFiles("algo-1-00000", folder / "records", folder / "answers", ["id", "x"])
        try:
            join_group([files], folder / "out.csv", spec)
        except JobError as error:
            assert not (folder / "out.csv").exists(), self.what
            return str(error)
        raise AssertionError(f"{self.what}: nothing happened")


def run(folder: Path, content: bytes, changes: dict[str, Any]) -> tuple[dict[str, Any], Path]:
    """Preprocess one object in this process; the manifest and where the output is."""
    put(folder / "processing" / "input" / "data", {"one.csv": content})
    container = Container(folder, "algo-1", ("algo-1",))
    kinds = changes.get("columns", AB)
    wanted = {key: value for key, value in changes.items() if key != "columns"}
    return preprocess(container, parse_config(config(kinds, **wanted))), container.output


def rule(**keys: Any) -> dict[str, Any]:
    """Changes of a pipeline that has this one rule."""
    return {"rules": [{"name": keys["rule"], **keys}]}


JSON: dict[str, Any] = {
    "changes": {"input_format": "jsonlines"}, "before": b'{"id":"k","x":1}\n', "after": b'{"id":"l","x":2}\n',
}  # fmt: skip
CSV_ANSWERS: dict[str, Any] = {"format": "csv", "fields": {"0": "score"}}
BASELINE = {"columns": {"x": {"q1": 1.0, "q3": 2.0}}}

OBJECTS = (
    Object("gzip, and the pipeline says nothing of it", zipped(b"a,1\n")),
    Object("not gzip, and the pipeline says gzip", b"a,1\n", {"input_compression": "gzip"}),
    Object("gzip that was cut off", zipped(b"a,1\n" * 999)[:-9], {"input_compression": "gzip"}),
    Object("gzip with damaged bytes", zipped(b"a,1\n")[:12] + b"\xff" * 9, {"input_compression": "gzip"}),
    Object("zstd, and the pipeline says nothing of it", zstd(b"a,1\n")),
    Object("not zstd, and the pipeline says zstd", b"a,1\n", {"input_compression": "zstd"}),
    Object("zstd that was cut off", zstd(b"a,1\n" * 999)[:-5], {"input_compression": "auto"}),
    Object("a zip archive", b"PK\x03\x04...."),
    Object("bzip2", b"BZh91AY&SY...."),
    Object("xz", b"\xfd7zXZ\x00...."),
    Object("Parquet, and the pipeline says csv", parquet(id=["a"], x=[1.0])),
    Object("Parquet with a column twice", parquet_twice, {"input_format": "parquet"}),
    Object(
        "JSON Lines of which no record has a member that is required",
        b'{"id": "a", "amount": 1}\n{"id": "b"}\n',
        {"input_format": "jsonlines"},
    ),
    Object("CSV, and the pipeline says parquet", b"id,x\na,1\n", {"input_format": "parquet"}),
    Object("Parquet without a column", parquet(id=["a"]), {"input_format": "parquet"}),
    Object("Parquet that was cut off", parquet(id=["a"], x=[1.0])[:-9], {"input_format": "parquet"}),
    Object(
        "Parquet with a date behind the year 9999",
        lambda: parquet(id=pa.array([99_999_999], pa.int32()).cast(pa.date32()), x=[1.0]),
        {"input_format": "parquet"},
    ),
    Object("UTF-16, and the pipeline says utf-8", "a,1\n".encode("utf-16")),
    Object("half a character of UTF-16", b"a\x00,\x001", {"input_encoding": "utf-16"}),
    Object("a header with a name that the pipeline does not know", b"id,y\na,1\n", {"input_header": True}),
    Object("a header that lacks a column", b"id\na\n", {"input_header": True}),
    Object("a header with a column twice", b"id,x,x\na,1,2\n", {"input_header": True}),
    Object("no header, and the pipeline says that there is one", b"a,1\nb,2\n", {"input_header": True}),
    Object("a header in another case", b"ID,X\na,1\n", {"input_header": True}),
    Object("no line break in 64 MB", lambda: b"a" * (66 << 20)),
)
RECORDS = (
    Record("a field too few", b"a"),
    Record("a field too many", b"a,1,2,3"),
    Record("another delimiter", b"a;1"),
    Record("a quote that is never closed", b'"a,1'),
    Record("an object that is cut off inside a quoted field", b'"a,1', after=b""),
    Record("a quote that a backslash escapes, and the pipeline says nothing of it", b'"a \\" b",1'),
    Record("a quote amid a quoted field", b'"24" monitor",1'),
    Record("a NUL character", b"a\0,1"),
    Record("a byte outside of the encoding", b"caf\xe9,1"),
    Record("text where a number belongs", b"a,one"),
    Record("NaN", b"a,NaN"),
    Record("infinity", b"a,inf"),
    Record("a number too large for 64 bits", b"a,1e999"),
    Record("a decimal comma", b'a,"1,5"'),
    Record("a thousands separator", b"a,1_000"),
    Record("a hexadecimal number", b"a,0x10"),
    Record("a currency sign", b"a,$5"),
    Record("digits of another script", "a,\uff11\uff12".encode()),
    Record("a date where a number belongs", b"a,2026-01-31"),
    Record("an integer with decimals", b"a,1,1.5", before=b"k,1,1\n", after=b"l,2,2\n"),
    Record("an integer of 20 digits", b"a,1,12345678901234567890", before=b"k,1,1\n", after=b"l,2,2\n"),
    Record("a line break in a feature", b'"two\nlines",1'),
    Record("an empty cell that is required", b",1", rule(rule="required", columns=["id"])),
    Record("a number out of its range", b"a,11", rule(rule="range", column="x", min=0, max=10)),
    Record("a value that is not allowed", b"z,1", rule(rule="allowed", column="id", values=["k", "l"])),
    Record("a cell that a pattern does not match", b"A1,1", rule(rule="pattern", column="id", pattern="[a-z]+")),
    Record("a record for the second time", b"k,1", rule(rule="duplicates")),
    Record(
        "a number far from the baseline's", b"a,9",
        {**rule(rule="outlier", column="x", method="iqr"), "baseline": BASELINE},
    ),
    Record("JSON that breaks off", b'{"id": "a", "x": 1', **JSON),
    Record("a JSON array", b'["a", 1]', **JSON),
    Record("a member twice", b'{"id": "a", "x": 1, "x": 2}', **JSON),
    Record("JSON that nests deep", b'{"id": ' + b"[" * 101 + b"]" * 101 + b', "x": 1}', **JSON),
    Record("half a surrogate pair", b'{"id": "\\ud800", "x": 1}', **JSON),
    Record("NaN in JSON", b'{"id": "a", "x": NaN}', **JSON),
    Record("true where a number belongs", b'{"id": "a", "x": true}', **JSON),
    Record("a list where a number belongs", b'{"id": "a", "x": [1]}', **JSON),
)  # fmt: skip
ANSWERS = (
    Answer("an answer too few", b'{"score": 1}\n'),
    Answer("an answer too many", b'{"score": 1}\n{"score": 2}\n{"score": 3}\n'),
    Answer("no answers at all", b""),
    Answer("gzip", zipped(b'{"score": 1}\n{"score": 2}\n')),
    Answer("zstd", zstd(b'{"score": 1}\n{"score": 2}\n'), {"format": "auto"}),
    Answer("a NumPy array", b"\x93NUMPY\x01\x00v\x00", CSV_ANSWERS),
    Answer("UTF-16", '{"score": 1}\n{"score": 2}\n'.encode("utf-16")),
    Answer("a blank line in place of an answer", b'{"score": 1}\n\n'),
    Answer("null", b'{"score": 1}\n{"score": null}\n'),
    Answer("NaN", b'{"score": NaN}\n{"score": 2}\n'),
    Answer("a member twice", b'{"score": 1}\n{"score": 2, "score": 3}\n'),
    Answer(
        "half a surrogate pair", b'{"label": "a"}\n{"label": "cut \\ud83d"}\n',
        {"fields": {"label": "label"}, "types": {"label": "string"}},
    ),
    Answer("another member", b'{"score": 1}\n{"label": 2}\n'),
    Answer("text where a number belongs", b'{"score": 1}\n{"score": "high"}\n'),
    Answer("true where a number belongs", b'{"score": true}\n{"score": true}\n'),
    Answer("an object where a number belongs", b'{"score": {"a": 1}}\n{"score": 2}\n'),
    Answer("a page of HTML", b"<html>\n<body>Bad gateway</body>\n"),
    Answer("CSV that lacks a column", b"1,2\n3\n", {"format": "csv", "fields": {"1": "score"}}),
    Answer("CSV with an empty cell", b'1\n""\n', CSV_ANSWERS),
    Answer("CSV with a carriage return inside an answer", b"1\n2\r3\n", CSV_ANSWERS),
    Answer(
        "CSV that breaks off inside quotes",
        b'1,"low"\n2,"hi', {"format": "csv", "fields": {"1": "label"}, "types": {"label": "string"}},
    ),
    Answer(
        "CSV with a quote that is not doubled",
        b'1,"low"\n2,"so "high""\n', {"format": "csv", "fields": {"1": "label"}, "types": {"label": "string"}},
    ),
    Answer("CSV with NaN", b"1\nnan\n", CSV_ANSWERS),
    Answer("a JSON document that breaks off", b'{"predictions": [{"score": 1}, {"sc', {"format": "json"}),
    Answer("a document with an answer too few", b'{"predictions": [{"score": 1}]}', {"format": "json"}),
    Answer(
        "answers in another order, of a model that echoes the id",
        b'{"score": 1, "id": "b"}\n{"score": 2, "id": "a"}\n', {"echo": {"id": "id"}},
    ),
)  # fmt: skip

HEAD = """# Troubleshooting: what is wrong with the data, and what is said about it

Written from what the jobs really say (`python -m tests.jobs.hostile`); a test runs each of these. The pipeline has
the columns `id` (text), `x` (number) and, optional, `n` (whole number). How runs end and what to do then is in
[README.md](../README.md#when-you-are-woken).

## Objects that end the job

Nothing of the run is scored. The message is the job's `ExitMessage`, the sensor's error, and the last line of its log.

| input | message |
|---|---|
"""
REJECTED = """
## Records that are rejected

The run goes on without them, as far as `max_rejected` allows. Rule and reason stand in `rejects/*.jsonl` below the
job's own prefix, beside the object, the line and the record's own text.

| record | rule and reason |
|---|---|
"""
UNJOINED = """
## Answers that cannot be joined

Nothing is published; what the model answered lies below `predictions/` of the transform job's own prefix. Here the
shard has the records `a,1` and `b,2`.

| answers | message |
|---|---|
"""


Case = Object | Record | Answer
CASES: tuple[Case, ...] = (*OBJECTS, *RECORDS, *ANSWERS)


def row(case: Case, folder: Path) -> str:
    """A line of the page, from running the case."""
    return f"| {case.what} | `{escaped(case.outcome(folder))}` |\n"


def rows(cases: tuple[Case, ...]) -> str:
    """A table's lines."""
    lines = []
    for case in cases:
        with tempfile.TemporaryDirectory() as folder:
            lines.append(row(case, Path(folder)))
    return "".join(lines)


def escaped(text: str) -> str:
    """Text for a cell of a table; what is between backticks stays as it is but for bars and line breaks."""
    return " ".join(text.split()).replace("|", "\\|").replace("`", "'")


def page() -> str:
    """docs/troubleshooting.md."""
    return "".join([HEAD, rows(OBJECTS), REJECTED, rows(RECORDS), UNJOINED, rows(ANSWERS)])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
