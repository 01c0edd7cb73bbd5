"""Compares the aligned join with polars, duckdb and pyarrow: `python tools/benchmarks/join.py --rows 1000000`.

Every run is a process of its own; candidates alternate, and the table shows medians of wall and CPU seconds (with
imports) and of peak memory, each also as a ratio of this project to the candidate. Candidates run under `--python`,
which may be a venv with polars and duckdb; a library that is not installed there is skipped, with a message. All
candidates get fixed column types, without inference, and write Parquet with the same settings, which are
read back from the files: compression, statistics, rows of a row group, and columns with a dictionary, which polars
writes for text alone; so this project is also measured with a dictionary for text alone.
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
# What this project chooses for these records; the others get it as settings.
ROW_GROUP_ROWS = 142_450
DICTIONARY_COLUMNS = [name for name in COLUMN_NAMES if name != "id"]
OURS, OURS_WITH_TEXT_DICTIONARY = "this project", "ours, text dict"
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


def join_with_text_dictionary(folder: Path, job: str, output: Path) -> None:
    sys.path.insert(0, str(ROOT))
    from batch_inference.jobs.join import sinks

    def find_text_columns(table: Any) -> list[str]:
        return [field.name for field in table.schema if str(field.type) == "string"]

    sinks._find_repetitive_columns = find_text_columns
    join_with_this_project(folder, job, output)


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
        both.sink_parquet(output, compression="snappy", statistics=True, row_group_size=ROW_GROUP_ROWS)
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
    parquet = f"FORMAT parquet, COMPRESSION snappy, ROW_GROUP_SIZE {ROW_GROUP_ROWS}"
    form = parquet if job.endswith("parquet") else "FORMAT csv, HEADER"
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
        writer = pa.parquet.ParquetWriter(
            output, schema, use_dictionary=DICTIONARY_COLUMNS, compression="snappy", write_statistics=True
        )
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
    OURS: join_with_this_project,
    OURS_WITH_TEXT_DICTIONARY: join_with_text_dictionary,
    "polars": join_with_polars,
    "duckdb": join_with_duckdb,
    "pyarrow": join_with_pyarrow,
}
MODULES = {"polars": "polars", "duckdb": "duckdb"}  # of all others, pyarrow


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
    if importlib.util.find_spec(MODULES.get(name, "pyarrow")) is None:
        print("null")
        return
    output = folder / "out"
    started, cpu = time.perf_counter(), time.process_time()
    CANDIDATES[name](folder, job, output)
    took = {"wall": time.perf_counter() - started, "cpu": time.process_time() - cpu}
    took["rss"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    took["bytes"] = output.stat().st_size
    settings = describe_settings(output) if job.endswith("parquet") else ""
    output.unlink()
    print(json.dumps([took, settings]))


def describe_settings(path: Path) -> str:
    """Describe with which settings a Parquet file was written, from its first row group."""
    import pyarrow.parquet

    group = pyarrow.parquet.ParquetFile(path).metadata.row_group(0)
    columns = [group.column(index) for index in range(group.num_columns)]
    compressions = ", ".join(sorted({column.compression for column in columns}))
    statistics_count = sum(column.is_stats_set for column in columns)
    dictionaries = [
        column.path_in_schema
        for column in columns
        if any(encoding.endswith("DICTIONARY") for encoding in column.encodings)
    ]
    return (
        f"{compressions}, {group.num_rows:,} rows in a row group, statistics of {statistics_count} columns, "
        f"dictionaries of {', '.join(dictionaries) or 'no column'}"
    )


def measure_candidate(python: str, name: str, job: str, folder: Path) -> tuple[dict[str, float], str] | None:
    """Run one candidate in a process of its own: its figures, and its writer's settings; None if not installed."""
    os.sync()
    command = [python, __file__, "--run", name, "--job", job, "--folder", str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return found and (found[0], found[1])


def run_bench(
    rows: int, repeats: int, python: str, jobs: list[str], candidates: list[str]
) -> list[dict[str, Any]]:
    table = []
    with tempfile.TemporaryDirectory(prefix="bench-join-") as place:
        folder = Path(place)
        write_data(folder, rows)
        for job in jobs:
            taken: dict[str, list[dict[str, float]]] = {}
            settings: dict[str, str] = {}
            for _ in range(repeats):
                for name in candidates:
                    if name == OURS_WITH_TEXT_DICTIONARY and not job.endswith("parquet"):
                        continue
                    found = measure_candidate(python, name, job, folder)
                    if found is not None:
                        taken.setdefault(name, []).append(found[0])
                        settings[name] = found[1]
            for name, runs in taken.items():
                medians = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
                table.append({"rows": rows, "job": job, "candidate": name, **medians})
                if settings[name]:
                    print(f"{rows:,} rows, {job}, {name}: {settings[name]}")
            for name in set(candidates) - taken.keys() - {OURS_WITH_TEXT_DICTIONARY}:
                print(f"{name} skipped: it is not installed for {python}", file=sys.stderr)
    return table


def print_table(table: list[dict[str, Any]]) -> None:
    print(
        f"\n{'':45} {'':35} {OURS} / candidate\n"
        f"{'rows':>11}  {'job':<17} {'candidate':<15} {'wall s':>7} {'CPU s':>7} {'peak MB':>8} {'out MB':>7} "
        f"{'wall':>6} {'CPU':>6} {'peak':>6}"
    )
    for row in table:
        ours = next(
            (
                one
                for one in table
                if (one["rows"], one["job"], one["candidate"]) == (row["rows"], row["job"], OURS)
            ),
            row,
        )
        ratios = " ".join(f"{ours[key] / row[key]:>6.2f}" for key in ("wall", "cpu", "rss"))
        print(
            f"{row['rows']:>11,}  {row['job']:<17} {row['candidate']:<15} {row['wall']:>7.2f} {row['cpu']:>7.2f} "
            f"{row['rss']:>8.0f} {row['bytes'] / 1e6:>7.0f} {ratios}"
        )


def print_growth(table: list[dict[str, Any]]) -> None:
    """Print CPU seconds per million rows at each size."""
    sizes = sorted({row["rows"] for row in table})
    print("\nCPU s per million rows at " + ", ".join(f"{size:,}" for size in sizes))
    for job, name in dict.fromkeys((row["job"], row["candidate"]) for row in table):
        growth = [
            f"{row['cpu'] / row['rows'] * 1e6:>7.3f}"
            for row in sorted(table, key=lambda row: int(row["rows"]))
            if (row["job"], row["candidate"]) == (job, name)
        ]
        print(f"{'':13}{job:<17} {name:<15} {' '.join(growth)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--python", default=sys.executable, help="interpreter that runs the candidates")
    parser.add_argument("--jobs", nargs="+", choices=JOIN_KINDS, default=list(JOIN_KINDS))
    parser.add_argument("--candidates", nargs="+", choices=list(CANDIDATES), default=list(CANDIDATES))
    for hidden in ("--run", "--job", "--folder"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        run_candidate(arguments.run, arguments.job, Path(arguments.folder))
        return
    repeats, python = arguments.repeats, arguments.python
    table = [
        row
        for rows in arguments.rows
        for row in run_bench(rows, repeats, python, arguments.jobs, arguments.candidates)
    ]
    print_table(table)
    print_growth(table)


if __name__ == "__main__":
    main()
