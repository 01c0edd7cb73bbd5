"""`make bench-preprocess`: the preprocess job against polars and pandas, over hosts, formats and sizes.

All read eight objects of abalone records and write those that pass three rules, their features, and the others with a
reason; once also without repeated records. Each run is a process of its own, in turns; figures are medians, ratios are
of one run of this command.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tools.benchmarks.candidates import ROOT, Usage, measure, take_medians

NUMBERS = ("length", "diameter", "height", "whole", "shucked", "viscera", "shell")
COLUMN_NAMES = ("sex", *NUMBERS, "rings")
OBJECTS = 8
RULES: list[dict[str, Any]] = [
    {"name": "sex", "kind": "allowed", "columns": ["sex"], "values": ["M", "F", "I"]},
    {"name": "present", "kind": "required", "columns": ["length", "diameter"]},
    {"name": "height", "kind": "range", "columns": ["height"], "min": 0, "max": 2},
]
HOSTS = (1, 2, 4, 8)
MAX_ROWS = {"polars": 10_000_000, "pandas": 1_000_000}  # they read all of it into memory
ONCE = {"name": "once", "kind": "duplicates", "columns": list(COLUMN_NAMES)}


def write_objects(folder: Path, rows: int) -> int:
    """Write records of about 50 bytes; returns their bytes. 4 in 1,000 break a rule and 1 in 1,000 repeats another."""
    draw = random.Random(1)  # noqa: S311 - measurements, not secrets
    folder.mkdir(parents=True)
    block = [
        f"{draw.choice('MFI')},{draw.randrange(75, 815) / 1000:g},{draw.randrange(55, 650) / 1000:g},"
        f"{draw.randrange(10, 250) / 1000:g}"
        for _ in range(10_007)
    ]
    for at in range(0, len(block), 200):
        block[at] = draw.choice(
            ["X,0.5,0.4,0.1", "M,,0.4,0.1", "F,0.5,0.4,9.5", "M,0.5,0.4,0.1", "I,0.4,0.3,2.5"]
        )
    size = 0
    for number in range(OBJECTS):
        with (folder / f"{number}.csv").open("w") as file:
            for n in range(number * rows // OBJECTS, (number + 1) * rows // OBJECTS):
                seed = n - 1_000 if n % 1_000 == 999 and n > 1_000 else n
                mixed = seed * 2_654_435_761 % 4_294_967_291
                file.write(
                    f"{block[seed % 10_007]},{mixed % 28_255 / 10_000:.4f},{mixed // 7 % 14_880 / 10_000:.4f},"
                    f"{mixed // 11 % 7_600 / 10_000:.4f},{mixed // 13 % 10_050 / 10_000:.4f},{1 + mixed % 29}\n"
                )
            size += file.tell()
    return size


def build_config(*, duplicates: bool, **changes: Any) -> dict[str, Any]:
    """The job's preprocess.json; keys of `input` may be given as input_<key>."""
    types = {"sex": "string", "rings": "integer"}
    columns = [{"name": name, "type": types.get(name, "float")} for name in COLUMN_NAMES]
    source = {key[6:]: changes.pop(key) for key in list(changes) if key.startswith("input_")}
    return {
        "version": 1,
        "pipeline": "bench",
        "input_uri": "s3://bench/in/",
        "distribution": "ShardedByS3Key",
        "input": {"columns": columns, **source},
        "rules": [*RULES, *([ONCE] if duplicates else [])],
        "feature_columns": list(NUMBERS),
        "shard_bytes": 8 << 20,
        **changes,
    }


def run_job(
    base: Path, inputs: Path, config: dict[str, Any], host_count: int = 1, *, has_one_core: bool = False
) -> tuple[Usage, int]:
    """Run the job as SageMaker does, once for each host; returns what all took and the bytes that they exchanged."""
    shutil.rmtree(base, ignore_errors=True)
    # Loopback addresses as names, so that the hosts reach each other.
    hosts = [f"127.99.0.{number + 1}" for number in range(host_count)]
    objects = sorted(inputs.iterdir())
    environments = []
    for number, host in enumerate(hosts):
        place = base / host
        for folder in ("config", "processing/input/config", "processing/input/data"):
            (place / folder).mkdir(parents=True)
        (place / "config/resourceconfig.json").write_text(json.dumps({"current_host": host, "hosts": hosts}))
        (place / "processing/input/config/preprocess.json").write_text(json.dumps(config))
        for one in objects[number::host_count]:
            (place / "processing/input/data" / one.name).symlink_to(one)
        environments.append({"SAGEMAKER_BASE_DIR": str(place), "PYTHONPATH": str(ROOT / "include")})
    command = [sys.executable, "-m", "batch_inference.jobs.preprocess"]
    commands = [command] * host_count
    if has_one_core:
        cores = sorted(os.sched_getaffinity(0))
        commands = [["taskset", "-c", str(cores[at % len(cores)]), *command] for at in range(host_count)]
    usage = measure(*commands, environments=environments)
    manifests = [
        json.loads((base / host / "processing/output/manifest" / f"{host}.json").read_text())
        for host in hosts
    ]
    assert all(one["records_in"] == one["records_out"] + one["rejected_count"] for one in manifests)
    return usage, sum(one["exchanged_bytes"] for one in manifests)


def run_polars(inputs: Path, output: Path, *, duplicates: bool) -> None:
    import polars as pl

    output.mkdir()
    types = {"sex": pl.String, "rings": pl.Int64}
    schema = {name: types.get(name, pl.Float64) for name in COLUMN_NAMES}
    frame = pl.concat(
        [pl.read_csv(path, has_header=False, schema=schema) for path in sorted(inputs.iterdir())]
    )
    reason = (
        pl.when(~pl.col("sex").is_in(["M", "F", "I"]))
        .then(pl.lit("sex"))
        .when(pl.col("length").is_null() | pl.col("diameter").is_null())
        .then(pl.lit("present"))
        .when((pl.col("height") < 0) | (pl.col("height") > 2))
        .then(pl.lit("height"))
    )
    frame = frame.with_columns(reason=reason)
    if duplicates:
        repeats = pl.col("reason").is_null() & ~pl.struct(COLUMN_NAMES).is_first_distinct()
        frame = frame.with_columns(reason=pl.when(repeats).then(pl.lit("once")).otherwise(pl.col("reason")))
    kept = frame.filter(pl.col("reason").is_null()).drop("reason")
    kept.write_csv(output / "records.csv", include_header=False)
    kept.select(NUMBERS).write_csv(output / "features.csv", include_header=False)
    frame.filter(pl.col("reason").is_not_null()).write_csv(output / "rejects.csv")
    profile = kept.describe(percentiles=(0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99))
    profile.write_csv(output / "profile.csv")


def run_pandas(inputs: Path, output: Path, *, duplicates: bool) -> None:
    import numpy as np
    import pandas as pd

    output.mkdir()
    frames = [pd.read_csv(path, header=None, names=list(COLUMN_NAMES)) for path in sorted(inputs.iterdir())]
    frame = pd.concat(frames, ignore_index=True)
    conditions = [
        ~frame["sex"].isin(["M", "F", "I"]),
        frame[["length", "diameter"]].isna().any(axis=1),
        ~frame["height"].between(0, 2),
    ]
    frame["reason"] = np.select(conditions, ["sex", "present", "height"], "")
    if duplicates:
        repeats = (frame["reason"] == "") & frame.duplicated(list(COLUMN_NAMES))
        frame.loc[repeats, "reason"] = "once"
    kept = frame[frame["reason"] == ""].drop(columns="reason")
    kept.to_csv(output / "records.csv", index=False, header=False)
    kept[list(NUMBERS)].to_csv(output / "features.csv", index=False, header=False)
    frame[frame["reason"] != ""].to_csv(output / "rejects.csv", index=False)
    kept.describe(percentiles=[0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99]).to_csv(output / "profile.csv")


CANDIDATES: dict[str, Callable[..., None]] = {"polars": run_polars, "pandas": run_pandas}


def compare(folder: Path, inputs: Path, rows: int, repeats: int, python: str) -> None:
    """Print what the job, polars and pandas take for the same, with and without repeated records."""
    for duplicates in (True, False):
        runs: dict[str, list[Usage]] = {}
        config = build_config(duplicates=duplicates)
        for _ in range(repeats):
            runs.setdefault("this project", []).append(run_job(folder / "job", inputs, config)[0])
            for name in (name for name in CANDIDATES if rows <= MAX_ROWS[name]):
                output = folder / "output"
                shutil.rmtree(output, ignore_errors=True)
                command = [python, __file__, "--candidate", name, str(inputs), str(output)]
                runs.setdefault(name, []).append(
                    measure([*command, *(["--duplicates"] if duplicates else [])])
                )
        usages = {name: take_medians(some) for name, some in runs.items()}
        own = usages["this project"]
        for name, used in usages.items():
            print(
                f"{rows:>11,}  {'with' if duplicates else 'without':<8} duplicates  {name:<13} {used.wall:>7.2f} "
                f"{used.cpu:>7.2f} {used.peak:>8.0f} {own.cpu / used.cpu:>10.2f} {own.wall / used.wall:>11.2f} "
                f"{used.cpu / rows * 1e6:>12.2f}"
            )


def compare_hosts(folder: Path, inputs: Path, rows: int, repeats: int) -> None:
    """Print what the job takes on several hosts with one core each, all on this machine, without repeated records."""
    config = build_config(duplicates=True)
    cpu: dict[int, list[float]] = {}
    for _ in range(repeats):
        for hosts in HOSTS:
            used, exchanged = run_job(folder / "job", inputs, config, hosts, has_one_core=True)
            cpu.setdefault(hosts, []).append(used.cpu)
    for hosts, taken in cpu.items():
        seconds = statistics.median(taken)
        ratio = seconds / statistics.median(cpu[1])
        print(
            f"{rows:>11,}  {hosts:>5}  {seconds:>7.2f} {ratio:>15.2f} {exchanged / rows if hosts > 1 else 0:>17.1f}"
        )


def compare_formats(folder: Path, inputs: Path) -> None:
    """Print the rate of one core for other kinds of input, made of the same records."""
    first = sorted(inputs.iterdir())[0].read_text().splitlines()[:250_000]
    rest = [line.split(",") for line in first]
    members = (
        dict(zip(COLUMN_NAMES, [cells[0], *map(float, cells[1:])], strict=True))
        for cells in rest
        if all(cells)
    )

    def encode(lines: Iterable[str], end: str = "\n") -> bytes:
        return "".join(f"{line}{end}" for line in lines).encode()

    kinds: dict[str, tuple[bytes, dict[str, Any]]] = {
        "csv": (encode(first), {}),
        "csv, CR LF": (encode(first, "\r\n"), {}),
        "csv, gzip": (gzip.compress(encode(first), 6), {"input_compression": "gzip"}),
        "csv, quoted text": (encode(f'"{cells[0]}",{",".join(cells[1:])}' for cells in rest), {}),
        "csv, imputed": (
            encode(first),
            {"imputations": [{"column": "diameter", "value": "0.4"}], "rules": RULES[:1]},
        ),
        "json lines": (encode(map(json.dumps, members)), {"input_format": "jsonlines"}),
    }
    print(
        f"\n{'one core, first 250,000 records':<32} {'CPU s':>7} {'MB per CPU s':>13} {'records per CPU s':>18}"
    )
    for kind, (content, changes) in kinds.items():
        place = folder / "kind"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        (place / "0").write_bytes(content)
        used, _ = run_job(folder / "job", place, build_config(duplicates=False, **changes))
        size = len(gzip.decompress(content) if "gzip" in kind else content)
        print(f"{kind:<32} {used.cpu:>7.2f} {size / used.cpu / 1e6:>13.1f} {len(first) / used.cpu:>18,.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--python", default=sys.executable, help="interpreter of polars and pandas")
    parser.add_argument("--candidate", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--duplicates", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.candidate:
        name, inputs, output = arguments.candidate
        CANDIDATES[name](Path(inputs), Path(output), duplicates=arguments.duplicates)
        return
    with tempfile.TemporaryDirectory(prefix="bench-preprocess-") as place:
        folder = Path(place)
        for number, rows in enumerate(arguments.rows):
            inputs = folder / f"{rows}"
            size = write_objects(inputs, rows)
            print(
                f"{rows:,} records, {size / 1e6:,.0f} MB in {OBJECTS} objects, {len(os.sched_getaffinity(0))} cores"
            )
            print(
                f"{'records':>11}  {'':<19}  {'candidate':<13} {'wall s':>7} {'CPU s':>7} {'peak MB':>8} "
                f"{'own CPU / it':>10} {'wall':>9} {'CPU s / million':>12}"
            )
            compare(folder, inputs, rows, arguments.repeats, arguments.python)
            if not number:
                print(
                    f"\n{'records':>11}  {'hosts':>5}  {'CPU s':>7} {'/ that of one':>15} {'bytes sent/record':>17}"
                )
                compare_hosts(folder, inputs, rows, arguments.repeats)
                compare_formats(folder, inputs)
            shutil.rmtree(inputs)


if __name__ == "__main__":
    main()
