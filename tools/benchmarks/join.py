"""Compares the aligned join with polars, duckdb and pyarrow: `python tools/benchmarks/join.py --rows 1000000`.

Every run is a process of its own; candidates alternate, and the table shows medians of wall and CPU seconds and of peak
memory. Candidates run under `--python`, which may be a venv with polars and duckdb; a library that is not installed
there is skipped, with a message. All candidates get fixed column types, without inference.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
COLUMN_NAMES = ("id", "sex", "length", "diameter", "height", "whole", "shucked", "viscera", "shell")
COLUMN_TYPES = {name: {"id": "integer", "sex": "string"}.get(name, "float") for name in COLUMN_NAMES}
JOIN_KINDS = ("csv to parquet", "csv to csv", "jsonl to parquet")


def join_with_this_project(folder: Path, job: str, output: Path) -> None:
    sys.path.insert(0, str(ROOT))
    from batch_inference.jobs.config.join_spec import JoinSpec, ShardFiles
    from batch_inference.jobs.join.aligned_join import join_shards

    kind, target = job.split(" to ")
    predictions = {
        "csv": {"format": "csv", "fields": {"0": "score"}},
        "jsonl": {"format": "jsonlines", "fields": {"score": "score"}},
    }[kind]
    columns = [{"name": name, "type": COLUMN_TYPES[name]} for name in COLUMN_NAMES]
    settings = {"is_preprocessed": True, "output_format": target, "predictions": predictions}
    shard = ShardFiles("s", folder / "records.csv", folder / f"scores.{kind}", COLUMN_NAMES)
    join_shards([shard], output, JoinSpec.from_dict({"columns": columns, **settings}))


def join_with_polars(folder: Path, job: str, output: Path) -> None:
    import polars as pl

    kinds: dict[str, Any] = {"integer": pl.Int64, "float": pl.Float64, "string": pl.String}
    schema = {name: kinds[COLUMN_TYPES[name]] for name in COLUMN_NAMES}
    left = pl.scan_csv(folder / "records.csv", has_header=False, schema=schema)
    if job.startswith("csv"):
        right = pl.scan_csv(folder / "scores.csv", has_header=False, schema={"score": pl.Float64})
    else:
        right = pl.scan_ndjson(folder / "scores.jsonl", schema={"score": pl.Float64})
    both = pl.concat([left, right], how="horizontal")
    if job.endswith("parquet"):
        both.sink_parquet(output, compression="snappy")
    else:
        both.sink_csv(output)


def join_with_duckdb(folder: Path, job: str, output: Path) -> None:
    import duckdb

    kinds = {"integer": "BIGINT", "float": "DOUBLE", "string": "VARCHAR"}
    columns = ", ".join(f"'{name}': '{kinds[COLUMN_TYPES[name]]}'" for name in COLUMN_NAMES)
    left = f"read_csv('{folder}/records.csv', header=false, columns={{{columns}}})"
    if job.startswith("csv"):
        right = f"read_csv('{folder}/scores.csv', header=false, columns={{'score': 'DOUBLE'}})"
    else:
        path = f"{folder}/scores.jsonl"
        right = f"read_json('{path}', format='newline_delimited', columns={{'score': 'DOUBLE'}})"
    form = "FORMAT parquet, COMPRESSION snappy" if job.endswith("parquet") else "FORMAT csv, HEADER"
    query = f"COPY (SELECT * FROM {left} POSITIONAL JOIN {right}) TO '{output}' ({form})"  # noqa: S608 - our own names
    duckdb.sql("SET memory_limit='1GB'")
    duckdb.sql(query)


def join_with_pyarrow(folder: Path, job: str, output: Path) -> None:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.json
    import pyarrow.parquet

    kinds = {"integer": pa.int64(), "float": pa.float64(), "string": pa.string()}
    types = {name: kinds[COLUMN_TYPES[name]] for name in COLUMN_NAMES}
    reading = pa.csv.ReadOptions(column_names=list(COLUMN_NAMES), block_size=8 << 20)
    converting = pa.csv.ConvertOptions(column_types=types)
    left = pa.csv.open_csv(folder / "records.csv", reading, convert_options=converting)
    schema = pa.schema([*types.items(), ("score", pa.float64())])
    if job.startswith("csv"):
        reading = pa.csv.ReadOptions(column_names=["score"], block_size=2 << 20)
        right: Iterator[Any] = iter(pa.csv.open_csv(folder / "scores.csv", reading))
    else:
        right = iter(pa.json.read_json(folder / "scores.jsonl").to_batches())
    writer: Any
    if job.endswith("parquet"):
        writer = pa.parquet.ParquetWriter(output, schema, use_dictionary=["sex"], compression="snappy")
    else:
        writer = pa.csv.CSVWriter(output, schema)
    waiting: list[Any] = []
    for batch in left:
        while sum(map(len, waiting)) < batch.num_rows:
            waiting.append(next(right).column("score"))
        scores = pa.chunked_array(waiting)
        taken = pa.chunked_array(scores[: batch.num_rows].chunks).combine_chunks()
        waiting = scores[batch.num_rows :].chunks
        writer.write_table(pa.table([*batch.columns, taken], schema=schema))
    writer.close()


CANDIDATES: dict[str, Callable[[Path, str, Path], None]] = {
    "this project": join_with_this_project,
    "polars": join_with_polars,
    "duckdb": join_with_duckdb,
    "pyarrow": join_with_pyarrow,
}
MODULES = {"this project": "pyarrow", "polars": "polars", "duckdb": "duckdb", "pyarrow": "pyarrow"}


def write_data(folder: Path, rows: int) -> None:
    """Records of about 69 bytes with ids in no order, and a score for each; the same for the same number."""
    draw = random.Random(1)  # noqa: S311 - measurements, not secrets
    block = [
        f"{draw.choice('MFI')},{0.1 + draw.randrange(719) / 1000:.3f},{draw.randrange(577) / 1000:.3f},"
        f"{draw.randrange(251) / 1000:.3f},{draw.randrange(2803) / 1000:.4f},{draw.randrange(1487) / 1000:.4f},"
        f"{draw.randrange(757) / 1000:.4f},{draw.randrange(997) / 1000:.4f}\n"
        for _ in range(100_003)
    ]
    with (
        (folder / "records.csv").open("w") as records,
        (folder / "scores.csv").open("w") as scores,
        (folder / "scores.jsonl").open("w") as lines,
    ):
        for start in range(0, rows, 100_000):
            numbers = range(start, min(rows, start + 100_000))
            records.writelines(f"{n * 2_654_435_761 % 9_999_999_967},{block[n % 100_003]}" for n in numbers)
            found = [repr(3.0 + n * 7_919 % 1_000_003 / 37_037) for n in numbers]
            scores.writelines(f"{score}\n" for score in found)
            lines.writelines(f'{{"score": {score}}}\n' for score in found)


def run_candidate(name: str, job: str, folder: Path) -> None:
    """Run one candidate and print what it took, as JSON."""
    if importlib.util.find_spec(MODULES[name]) is None:
        print("null")
        return
    output = folder / "out"
    started, cpu = time.perf_counter(), time.process_time()
    CANDIDATES[name](folder, job, output)
    took = {"wall": time.perf_counter() - started, "cpu": time.process_time() - cpu}
    took["rss"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    took["bytes"] = output.stat().st_size
    output.unlink()
    print(json.dumps(took))


def measure_candidate(python: str, name: str, job: str, folder: Path) -> dict[str, float] | None:
    os.sync()
    command = [python, __file__, "--run", name, "--job", job, "--folder", str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] | None = json.loads(done.stdout.splitlines()[-1])
    return found


def run_bench(rows: int, repeats: int, python: str, jobs: list[str]) -> list[dict[str, Any]]:
    table = []
    with tempfile.TemporaryDirectory(prefix="bench-join-") as place:
        folder = Path(place)
        write_data(folder, rows)
        for job in jobs:
            taken: dict[str, list[dict[str, float]]] = {}
            for _ in range(repeats):
                for name in CANDIDATES:
                    found = measure_candidate(python, name, job, folder)
                    if found is not None:
                        taken.setdefault(name, []).append(found)
            for name, runs in taken.items():
                medians = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
                table.append({"rows": rows, "job": job, "candidate": name, **medians})
            for name in CANDIDATES.keys() - taken.keys():
                print(f"{name} skipped: it is not installed for {python}", file=sys.stderr)
    return table


def print_table(table: list[dict[str, Any]]) -> None:
    print(
        f"{'rows':>11}  {'job':<17} {'candidate':<13} {'wall s':>7} {'CPU s':>7} {'peak MB':>8} {'out MB':>7} "
        f"{'wall / best':>12} {'CPU / best':>11}"
    )
    for row in table:
        same = [one for one in table if (one["rows"], one["job"]) == (row["rows"], row["job"])]
        others = [one for one in same if one["candidate"] != "this project"]
        ratios = [
            f"{row[key] / min(one[key] for one in others):.2f}" if others else "" for key in ("wall", "cpu")
        ]
        print(
            f"{row['rows']:>11,}  {row['job']:<17} {row['candidate']:<13} {row['wall']:>7.2f} {row['cpu']:>7.2f} "
            f"{row['rss']:>8.0f} {row['bytes'] / 1e6:>7.0f} {ratios[0]:>12} {ratios[1]:>11}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--python", default=sys.executable, help="interpreter that runs the candidates")
    parser.add_argument("--jobs", nargs="+", choices=JOIN_KINDS, default=list(JOIN_KINDS))
    for hidden in ("--run", "--job", "--folder"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        run_candidate(arguments.run, arguments.job, Path(arguments.folder))
        return
    python, jobs = arguments.python, arguments.jobs
    table = [row for rows in arguments.rows for row in run_bench(rows, arguments.repeats, python, jobs)]
    print_table(table)


if __name__ == "__main__":
    main()
