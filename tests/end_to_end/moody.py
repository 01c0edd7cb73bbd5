"""A pipeline of small records whose model is in a mood: what goes in, and what must come out."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pandas

BUCKET = "s3://batch-inference-sample"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/local/moody:1"
#: What the model cannot take; see moody_server.py.
POISON = "-1.25"
KINDS = {"csv": {}, "gzip": {"compression": "gzip"}, "parquet": {"format": "parquet"}}
COLUMNS = [{"name": "id", "type": "string"}, {"name": "x", "type": "float"}, {"name": "y", "type": "float"}]


def build_pipeline_change(
    name: str, model_mood: str, input_kind: str = "csv", **sections: Any
) -> Callable[[dict[str, Any]], None]:
    """A pipeline of records `id,x,y`, in files of this kind; `sections` take the place of its own."""

    def change(document: dict[str, Any]) -> None:
        preprocess = {key: document["preprocess"][key] for key in ("image", "instance_type")}
        kept = {key: document[key] for key in ("name", "schedule", "aws_conn_id", "role", "work")}
        document.clear()
        document.update(
            kept,
            input={"uri": f"{BUCKET}/records/in/{name}/", "columns": COLUMNS, **KINDS[input_kind]},
            output={"uri": f"{BUCKET}/records/out/{name}/"},
            rules=[{"name": "x present", "rule": "required", "columns": ["x"]}],
            preprocess=preprocess,
            model={"containers": [{"image": IMAGE, "environment": {"MOOD": model_mood}}]},
            predictions={"format": "jsonlines", "fields": {"score": "score"}, "echo": {"id": "id"}},
        )
        document.update(sections)

    return change


def records(kind: str, count: int) -> list[str]:
    """Sound records; ids begin with `kind`."""
    return [f"{kind}{n:06d},{n % 89 + 0.5},{n % 7}.0" for n in range(count)]


def make_dirty_records(kind: str, count: int) -> list[str]:
    """Records of which one in twenty cannot be right, in four ways."""
    spoilt = (
        lambda row: f"{row[:7]},n/a,1.0",
        lambda row: f"{row},9",
        lambda row: row[:7],
        lambda row: f"{row[:7]},,1.0",
    )
    return [spoilt[n // 20 % 4](row) if n % 20 == 7 else row for n, row in enumerate(records(kind, count))]


def poison_records(rows: list[str], *places: int) -> list[str]:
    """The same with records that the model cannot take."""
    return [f"{row[:7]},{POISON},1.0" if n in places else row for n, row in enumerate(rows)]


def compute_expected(rows: list[str]) -> pandas.DataFrame:
    """What is to be published of sound rows."""
    frame = pandas.read_csv(io.StringIO("\n".join(rows)), names=["id", "x", "y"])
    return frame.assign(score=frame.x + 2 * frame.y)


def lines(rows: list[str]) -> bytes:
    """The rows as an object."""
    return "".join(f"{row}\n" for row in rows).encode()


def is_sound(row: str) -> bool:
    """Whether preprocessing lets the record pass."""
    cells = row.split(",")
    return len(cells) == 3 and not {"", "n/a"} & set(cells)
