"""What a join counts of its predictions: right, the same in however many parts, and mergeable."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch_inference.jobs.common import blocks
from batch_inference.jobs.common.errors import JobError
from batch_inference.jobs.config.join_spec import JoinSpec, ShardFiles
from batch_inference.jobs.join.aligned_join import join_shards
from batch_inference.jobs.join.statistics import SAMPLE_ROWS, PredictionStatistics, merge_statistics

ROWS = 5_000
COLUMNS = [
    {"name": "id", "type": "string"},
    {"name": "sex", "type": "string"},
    {"name": "age", "type": "integer"},
]


def write(folder: Path, name: str, first: int, count: int, answers: str) -> ShardFiles:
    """A shard of the rows from `first` on; the n-th row scores n/100 and is called by its parity."""
    numbers = range(first, first + count)
    (folder / f"{name}.records").write_text(
        "".join(f'"{n}, x",{"fm"[n % 2] if n % 5 else ""},{n % 70}\n' for n in numbers)
    )
    line = {
        "csv": lambda n: f"{n / 100}\n",
        "jsonlines": lambda n: (
            json.dumps({"score": n / 100, "label": "even" if n % 2 == 0 else "odd"}) + "\n"
        ),
        "json": lambda n: json.dumps({"predictions": [{"score": n / 100, "label": "x"}]}),
    }[answers]
    (folder / f"{name}.out").write_text("".join(map(line, numbers)))
    return ShardFiles(name, folder / f"{name}.records", folder / f"{name}.out", ("id", "sex", "age"))


def spec(output: str, answers: str, **more: Any) -> JoinSpec:
    """A join of one score, and of a label where the answers have one."""
    fields = {"0": "p"} if answers == "csv" else {"score": "p", "label": "l"}
    return JoinSpec.from_dict(
        {
            "columns": COLUMNS,
            "output_format": output,
            "predictions": {
                "format": answers,
                "fields": fields,
                "types": {} if answers == "csv" else {"l": "string"},
            },
            **more,
        }
    )


def counted(folder: Path, shards: list[ShardFiles], wanted: JoinSpec) -> dict[str, Any]:
    """The statistics of one part, as they are stored."""
    statistics = PredictionStatistics(wanted)
    join_shards(shards, folder / f"out.{wanted.output_format}", wanted, statistics=statistics)
    found: dict[str, Any] = json.loads(json.dumps(statistics.to_dict()))
    return found


@pytest.mark.parametrize("answers", ["csv", "jsonlines", "json"])
@pytest.mark.parametrize("output", ["csv", "parquet", "jsonlines"])
def test_counts_are_those_of_the_rows_whatever_was_read_and_written(
    tmp_path: Path, output: str, answers: str
) -> None:
    """Each way through the join counts the same."""
    shard = write(tmp_path, "s", 0, ROWS, answers)
    found = counted(
        tmp_path,
        [shard],
        spec(output, answers, sensitive_columns=[{"column": "sex"}], selection={"column": "p", "min": 25}),
    )
    values = np.arange(ROWS) / 100
    profile = found["columns"]["p"]
    assert (found["rows"], profile["count"], profile["nulls"]) == (ROWS, ROWS, 0)
    assert (profile["min"], profile["max"]) == (0.0, values[-1])
    assert profile["mean"] == pytest.approx(values.mean())
    assert profile["std"] == pytest.approx(values.std())
    assert profile["quantiles"]["0.5"] == pytest.approx(np.median(values), rel=0.011)
    groups = found["groups"]["sex"]
    assert {label: each["rows"] for label, each in groups.items()} == {"(empty)": 1000, "f": 2000, "m": 2000}
    of_f = np.array([n / 100 for n in range(ROWS) if n % 5 and n % 2 == 0])
    assert groups["f"]["predictions"]["p"]["sum"] == pytest.approx(of_f.sum())
    assert groups["f"]["selected"] == (of_f >= 25).sum()


def test_a_run_gives_the_same_statistics_in_however_many_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks and parts are cut differently; counts and the sampled rows are the same."""
    shards = [write(tmp_path, f"s{n}", n * 1000, 1000, "jsonlines") for n in range(5)]
    wanted = spec(
        "csv",
        "jsonlines",
        sensitive_columns=[{"column": "sex"}, {"column": "age", "edges": [18, 65]}],
        selection={"column": "l", "values": ["odd"]},
    )
    whole = merge_statistics([counted(tmp_path, shards, wanted)])
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 999)
    parts = merge_statistics(counted(tmp_path, [shard], wanted) for shard in shards)
    assert parts["sample"] == whole["sample"]
    assert len(whole["sample"]["hashes"]) == SAMPLE_ROWS
    for column in ("p", "l"):
        for key, value in whole["columns"][column].items():
            if isinstance(value, float):
                assert parts["columns"][column][key] == pytest.approx(value)
            elif key in ("count", "nulls", "values", "others"):
                assert parts["columns"][column][key] == value
    assert parts["columns"]["p"]["sketch"] == whole["columns"]["p"]["sketch"]
    assert list(whole["groups"]["age"]) == ["18 to 65", "65 and above", "below 18"]
    assert {label: (each["rows"], each["selected"]) for label, each in parts["groups"]["sex"].items()} == {
        "(empty)": (1000, 500),
        "f": (2000, 0),
        "m": (2000, 2000),
    }


def test_the_sample_is_spread_over_the_rows(tmp_path: Path) -> None:
    """Not the first rows, nor those of one shard: its distribution is that of all."""
    shard = write(tmp_path, "s", 0, 20_000, "csv")
    values = np.sort(counted(tmp_path, [shard], spec("csv", "csv"))["sample"]["columns"]["p"])
    assert len(values) == len(np.unique(values)) == SAMPLE_ROWS
    # The distance that chance gives one sample in a thousand (Kolmogorov-Smirnov).
    distance = np.abs((np.arange(SAMPLE_ROWS) + 0.5) / SAMPLE_ROWS - values / 200).max()
    assert distance < 1.95 / math.sqrt(SAMPLE_ROWS)


@settings(max_examples=30)
@given(
    st.lists(st.floats(-1e9, 1e9, allow_nan=False), min_size=1, max_size=60),
    st.integers(1, 4),
)
def test_any_cut_into_parts_merges_to_the_whole(
    tmp_path_factory: pytest.TempPathFactory, values: list[float], size: int
) -> None:
    """Counts, range and buckets exactly, the mean to rounding."""
    folder = tmp_path_factory.mktemp("parts")
    shards = []
    for number in range(0, len(values), size):
        some = values[number : number + size]
        (folder / f"{number}.records").write_text("a,f,1\n" * len(some))
        (folder / f"{number}.out").write_text("".join(f"{value!r}\n" for value in some))
        shards.append(
            ShardFiles(
                f"s{number}", folder / f"{number}.records", folder / f"{number}.out", ("id", "sex", "age")
            )
        )
    wanted = spec("csv", "csv")
    merged = merge_statistics(counted(folder, [shard], wanted) for shard in shards)["columns"]["p"]
    assert (merged["count"], merged["min"], merged["max"]) == (len(values), min(values), max(values))
    assert merged["mean"] == pytest.approx(sum(values) / len(values), abs=1e-6, rel=1e-9)
    assert sum(merged["histogram"]["counts"]) == len(values)


def test_statistics_of_different_columns_are_not_merged(tmp_path: Path) -> None:
    """A number and a text of one name cannot be one column."""
    shard = write(tmp_path, "s", 0, 3, "csv")
    number = counted(tmp_path, [shard], spec("csv", "csv"))
    text = {
        **number,
        "columns": {"p": {"kind": "text", "count": 1, "nulls": 0, "values": {"a": 1}, "others": 0}},
    }
    with pytest.raises(JobError, match="of one column"):
        merge_statistics([number, text])
