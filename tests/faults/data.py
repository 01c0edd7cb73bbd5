"""What the fault suite scores: 1,603 rows in two objects, three of them without a value; and what must come of it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas

from batch_inference.common.s3_uri import split_s3_uri
from tests.archives import pack_tar_gz
from tests.faults.deployed.inference import BAD

BUCKET = "faults"
ROLE = "arn:aws:iam::123456789012:role/batch-inference"
IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
GOOD_INPUT, INPUT_WITH_BAD_RECORD = f"s3://{BUCKET}/input/", f"s3://{BUCKET}/input-with-a-bad-record/"
DEPLOYED = Path(__file__).with_name("deployed")
ROWS, REJECTED = 1_600, 3
#: The row that the model chokes on, in the input that has one.
BAD_ROW = 1_000
#: Rows are as long as that, so that twenty shards are not too small to be cut.
NOTE = "x" * 50


def value_of(number: int) -> float:
    """The value in a row."""
    return number / 4


def lines(*, bad: int | None = None) -> list[str]:
    """The input; row number `bad` holds what the model chokes on."""
    rows = [f"key-{number:05},{BAD if number == bad else value_of(number)},{NOTE}" for number in range(ROWS)]
    return [*rows, *(f"without-value-{number},,{NOTE}" for number in range(REJECTED))]


def upload(s3: Any, pipelines: Iterable[str]) -> None:
    """Put the input, and each pipeline's model, where they look."""
    s3.create_bucket(Bucket=BUCKET)
    for prefix, content in (("input", lines()), ("input-with-a-bad-record", lines(bad=BAD_ROW))):
        half = len(content) // 2
        for name, part in (("a.csv", content[:half]), ("b.csv", content[half:])):
            body = "".join(f"{line}\n" for line in part).encode()
            s3.put_object(Bucket=BUCKET, Key=f"{prefix}/{name}", Body=body)
    for pipeline in pipelines:
        upload_model(s3, pipeline)


def get_model_uri(pipeline: str) -> str:
    """Where a pipeline has its model."""
    return f"s3://{BUCKET}/model/{pipeline}.tar.gz"


def upload_model(s3: Any, pipeline: str, fault: str = "") -> None:
    """Put the pipeline's model where it looks for it; `fault` makes it misbehave, see deployed/inference.py."""
    packed = pack_tar_gz({"code/inference.py": (DEPLOYED / "inference.py").read_bytes(), "fault.txt": fault})
    bucket, key = split_s3_uri(get_model_uri(pipeline))
    s3.put_object(Bucket=bucket, Key=key, Body=packed)


def check_published(rows: pandas.DataFrame, records: dict[str, Any], *, without_bad: bool) -> None:
    """Each good row is there once with its own prediction, and the manifest's counts say so."""
    expected = {f"key-{number:05}": 2 * value_of(number) for number in range(ROWS)}
    if without_bad:
        del expected[f"key-{BAD_ROW:05}"]
    assert dict(zip(rows["key"], rows["doubled"], strict=True)) == expected
    assert len(rows) == len(expected)
    counts = {"in": ROWS + REJECTED, "rejected": ROWS + REJECTED - len(expected), "scored": len(expected)}
    assert {name: records[name] for name in counts} == counts
