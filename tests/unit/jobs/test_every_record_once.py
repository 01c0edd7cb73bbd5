"""Any table, through preprocess, a model and the join: every record once, in its place, or rejected with a reason.

Without AWS: hosts are folders, the model is a function of the features' lines, shards go to whatever host or group.
"""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from batch_inference.jobs.common import blocks
from batch_inference.jobs.common.container import Container
from batch_inference.jobs.config.join_spec import JoinSpec, ShardFiles
from batch_inference.jobs.config.preprocess_config import parse_config
from batch_inference.jobs.join.aligned_join import join_shards
from batch_inference.jobs.join.join_job import JoinConfig, JoinShard, join_host_shards
from batch_inference.jobs.preprocess.preprocess_job import preprocess
from tests.unit.jobs.containers import columns, config, put

#: Any text but NUL and half a surrogate pair, which are no text; with much of what separates and quotes.
CELL = st.text(
    st.one_of(
        st.sampled_from(",;\"\n\r\t 'é\u2028😀"),
        st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
    ),
    max_size=6,
)
#: What makes a record one that must be rejected, and by which rule.
BAD = {"text": "type", "nothing": "required", "huge": "type"}


@dataclass(frozen=True)
class Row:
    """A record; `bad` says what is wrong with it, if anything is."""

    key: int
    x: str
    notes: tuple[str, ...]
    bad: str | None


@st.composite
def tables(draw: Any) -> tuple[list[list[Row]], int]:
    """The rows of some objects, some of them empty, and how many columns of notes they have."""
    width = draw(st.integers(0, 5))
    numbers = st.floats(allow_nan=False, allow_infinity=False).map(repr)
    key, objects = 0, []
    for _ in range(draw(st.integers(1, 4))):
        rows = []
        for _ in range(draw(st.integers(0, 12))):
            bad = draw(st.sampled_from([None, None, None, None, None, *BAD]))
            x = {"text": "one", "nothing": "", "huge": "1e999", None: draw(numbers)}[bad]
            rows.append(Row(key, x, tuple(draw(st.lists(CELL, min_size=width, max_size=width))), bad))
            key += 1
        objects.append(rows)
    return objects, width


def as_csv(rows: Sequence[Row], names: Sequence[str], ending: str, quoting: Any) -> bytes:
    lines = []
    for row in rows:
        text = io.StringIO()
        # A carriage return is put into quotes only where it is part of the writer's line end.
        csv.writer(text, lineterminator="\r\n", quoting=quoting).writerow([row.key, *row.notes, row.x])
        lines.append(text.getvalue()[:-2] + ending)
    return "".join(lines).encode()


def as_json_lines(rows: Sequence[Row], names: Sequence[str], ending: str, quoting: Any) -> bytes:
    ascii_only = quoting == csv.QUOTE_ALL
    records = [dict(zip(names, [row.key, *row.notes, row.x], strict=True)) for row in rows]
    return "".join(json.dumps(record, ensure_ascii=ascii_only) + ending for record in records).encode()


def as_parquet(rows: Sequence[Row], names: Sequence[str], ending: str, quoting: Any) -> bytes:
    if not rows:
        return b""
    values = list(zip(*([row.key, *row.notes, row.x] for row in rows), strict=True))
    file = io.BytesIO()
    arrays = [
        pa.array(column, pa.int64() if name == "key" else pa.string())
        for name, column in zip(names, values, strict=True)
    ]
    pq.write_table(pa.Table.from_arrays(arrays, names=list(names)), file, row_group_size=3)
    return file.getvalue()


WRITERS = {"csv": as_csv, "jsonlines": as_json_lines, "parquet": as_parquet}


def score(key: int) -> float:
    return key * 2 + 0.25


def answered(features: bytes, shape: str) -> bytes:
    """What a model answers to the features: `score` of each line's key, in this shape."""
    keys = [int(line.split(b",")[0]) for line in features.split(b"\n")[:-1]]
    scores = [score(key) for key in keys]
    objects = [{"other": "ü", "score": value} for value in scores]
    if shape == "csv":
        return "".join(f"{value}\n" for value in scores).encode()
    if shape == "csv of two columns":
        return "".join(f'"a,""b",{value}\n' for value in scores).encode()
    if shape == "json documents":  # one a request of three records, glued
        return b"".join(
            json.dumps({"predictions": objects[at : at + 3]}).encode() for at in range(0, len(objects), 3)
        )
    if shape == "json arrays":
        return b"".join(json.dumps(scores[at : at + 4]).encode() + b"\n" for at in range(0, len(scores), 4))
    return "".join(json.dumps(one) + "\n" for one in objects).encode()


SHAPES: dict[str, dict[str, Any]] = {
    "json lines": {"format": "jsonlines", "fields": {"score": "score"}},
    "csv": {"format": "csv", "fields": {"0": "score"}},
    "csv of two columns": {"format": "csv", "fields": {"-1": "score"}},
    "json documents": {"format": "json", "fields": {"score": "score"}},
    "json arrays": {"format": "json", "fields": {"$": "score"}},
    "found out": {"format": "auto", "fields": {"score": "score"}},
}


def preprocessed(
    folder: Path, contents: Mapping[str, bytes], wanted: dict[str, Any], hosts: Sequence[str]
) -> list[tuple[Path, dict[str, Any]]]:
    """Each host's output and manifest."""
    done = []
    for number, host in enumerate(hosts):
        base = folder / host
        shared = {
            name: content
            for at, (name, content) in enumerate(contents.items())
            if wanted["distribution"] == "FullyReplicated" or at % len(hosts) == number
        }
        (base / "processing" / "input" / "data").mkdir(parents=True)
        put(base / "processing" / "input" / "data", shared)
        container = Container(base, host, tuple(hosts))
        done.append((container.output_dir, preprocess(container, parse_config(wanted))))
    return done


def joined_by_job(folder: Path, shards: Sequence[ShardFiles], spec: JoinSpec, hosts: int) -> list[Path]:
    """The parts of a processing job that brings every second or third shard's records to each host."""
    names = tuple(f"algo-{number + 1}" for number in range(hosts))
    tasks = tuple(
        JoinShard(
            number, shard.name, tuple(shard.columns), shard.records_path.name, shard.predictions_path.name
        )
        for number, shard in enumerate(shards)
    )
    parts: dict[int, Path] = {}
    for number, name in enumerate(names):
        container = Container(folder / name, name, names)
        own = [shard for at, shard in enumerate(shards) if at % hosts == number]
        put(
            container.get_input_dir("records"),
            {shard.records_path.name: shard.records_path.read_bytes() for shard in own},
        )
        put(
            container.get_input_dir("predictions"),
            {each.predictions_path.name: each.predictions_path.read_bytes() for each in shards},
        )
        for part in join_host_shards(container, JoinConfig(1, spec, tasks))["parts"]:
            assert part["number"] not in parts
            parts[part["number"]] = container.output_dir / part["key"]
    return [parts[number] for number in range(len(shards))]


def rows_of(path: Path, names: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of a part; an empty cell and a null are the same."""
    if path.suffix == ".parquet":
        rows = pq.read_table(path).to_pylist()
    elif path.suffix == ".csv":
        rows = list(csv.DictReader(io.StringIO(path.read_bytes().decode(), newline="")))
    else:
        rows = [json.loads(line) for line in path.read_bytes().decode().split("\n")[:-1]]
    assert all(list(row) == [*names, "score"] for row in rows)
    return rows


@settings(max_examples=80)
@given(
    table=tables(),
    source=st.sampled_from(list(WRITERS)),
    written=st.tuples(st.sampled_from(["\n", "\r\n"]), st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
    hosts=st.integers(1, 3),
    distribution=st.sampled_from(["FullyReplicated", "ShardedByS3Key"]),
    shard_bytes=st.sampled_from([1, 40, 200, 1_000_000]),
    shape=st.sampled_from(list(SHAPES)),
    output=st.sampled_from(["csv", "jsonlines", "parquet"]),
    joiners=st.integers(0, 3),
    block=st.sampled_from([7, 64, 1 << 20]),
)
def test_every_record_is_published_once_in_its_place_or_rejected_with_a_reason(
    table: tuple[list[list[Row]], int],
    source: str,
    written: tuple[str, Any],
    hosts: int,
    distribution: str,
    shard_bytes: int,
    shape: str,
    output: str,
    joiners: int,
    block: int,
) -> None:
    """`joiners` 0: one group on a worker; else so many hosts of a job."""
    objects, width = table
    names = ["key", *(f"note {number}" for number in range(width)), "x"]
    kinds = columns(**{name: {"key": "integer", "x": "float"}.get(name, "string") for name in names})
    wanted = config(
        kinds,
        input_format=source,
        distribution=distribution,
        shard_bytes=shard_bytes,
        feature_columns=["key", "x"],
        rules=[{"name": "required", "rule": "required", "columns": ["x"]}],
    )
    contents = {f"{number}.in": WRITERS[source](rows, names, *written) for number, rows in enumerate(objects)}
    spec = JoinSpec.from_dict(
        {
            "columns": [{"name": each["name"], "type": each["type"]} for each in kinds],
            "records_format": "jsonlines" if source == "jsonlines" else "csv",
            "output_format": output,
            "predictions": SHAPES[shape],
        }
    )
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        done = preprocessed(folder, contents, wanted, [f"algo-{number + 1}" for number in range(hosts)])
        shards = []
        for place_of_host, manifest in done:
            for shard in manifest["shards"]:
                answers = place_of_host / f"{shard['name']}.out"
                answers.write_bytes(answered((place_of_host / shard["features_key"]).read_bytes(), shape))
                shards.append(
                    ShardFiles(shard["name"], place_of_host / shard["records_key"], answers, shard["columns"])
                )
        before, blocks.BLOCK_BYTES = blocks.BLOCK_BYTES, block
        try:
            if joiners:
                parts = joined_by_job(folder / "job", shards, spec, joiners)
            else:
                parts = [folder / f"all.{output}"]
                counts = join_shards(shards, parts[0], spec)
                assert list(counts) == [shard.name for shard in shards]
        finally:
            blocks.BLOCK_BYTES = before
        published = [row for part in parts for row in rows_of(part, names)]
        rejects = [
            json.loads(line)
            for place_of_host, _ in done
            for path in (place_of_host / "rejects").iterdir()
            for line in path.read_bytes().decode().split("\n")[:-1]
        ]

    rows = {row.key: row for each in objects for row in each}
    good = {key for key, row in rows.items() if row.bad is None}
    assert sorted(int(row["key"]) for row in published) == sorted(good)
    for row in published:
        sent = rows[int(row["key"])]
        assert float(row["score"]) == score(sent.key)
        assert float(row["x"]) == float(sent.x)
        assert tuple(row[name] or "" for name in names[1:-1]) == sent.notes
    places = [
        (f"s3://bucket/in/{number}.in", at)
        for number, each in enumerate(objects)
        for at in range(1, len(each) + 1)
    ]
    rejected = {places.index((one["source"], one["record"])): one["rule"] for one in rejects}
    assert len(rejected) == len(rejects)
    assert rejected == {key: BAD[row.bad] for key, row in rows.items() if row.bad is not None}
    # Within an object, rows keep the order in which they came.
    for each in objects:
        own = [int(row["key"]) for row in published if rows[int(row["key"])] in each]
        assert own == sorted(own)
