"""Very many objects, and a very large one, through Airflow and the embedded AWS: `make bench-objects`.

OBJECTS (default 100,000, of three records each) and MEGABYTES (default 500, one object) say how many and how large.
Slow on a laptop: the embedded AWS's S3 holds objects in memory and answers some hundred requests a second.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow.compute
import pyarrow.parquet
import pytest

from batch_inference.common.s3_uri import split_s3_uri
from tests.end_to_end.deployment import Deployment
from tests.end_to_end.moody import BUCKET, build_pipeline_change, lines, records

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(6 * 3600)]

OBJECTS = int(os.environ.get("OBJECTS", "100000"))
MEGABYTES = int(os.environ.get("MEGABYTES", "500"))
EACH = 3
UPLOADS = 16


def run_and_check(deployment: Deployment, name: str, count: int) -> None:
    """Run the pipeline once; every record must be published, each with its own score. Prints what it took."""
    deployment.deploy(name, build_pipeline_change(name, "sound"))
    begun = time.monotonic()
    run_id = deployment.trigger(name, {"transform_instance_count": 2})
    assert deployment.wait(name, run_id, seconds=5 * 3600) == "success"
    took = time.monotonic() - begun
    objects = deployment.objects(f"{BUCKET}/records/out/{name}/")
    tables = [
        pyarrow.parquet.read_table(io.BytesIO(each))
        for key, each in objects.items()
        if key.endswith(".parquet")
    ]
    table = pyarrow.concat_tables(tables)
    assert table.num_rows == count == len(pyarrow.compute.unique(table["id"]))
    wanted = pyarrow.compute.add(table["x"], pyarrow.compute.multiply(table["y"], 2.0))
    assert pyarrow.compute.all(pyarrow.compute.equal(table["score"], wanted)).as_py()
    print(f"\n{name}: {count:,} records scored and read back; the run took {took:.0f} s", flush=True)  # noqa: T201 - a measurement is for the terminal


def test_very_many_objects(deployment: Deployment) -> None:
    """Small objects become few shards; none is lost."""
    bucket, rows = split_s3_uri(BUCKET)[0], records("s", EACH * OBJECTS)

    def put(n: int) -> None:
        body = lines(rows[EACH * n : EACH * (n + 1)])
        key = f"records/in/bench_many/{n % 100:02d}/{n:06d}.csv"
        deployment.s3.put_object(Bucket=bucket, Key=key, Body=body)

    with ThreadPoolExecutor(UPLOADS) as pool:
        for _ in pool.map(put, range(OBJECTS)):
            pass
    run_and_check(deployment, "bench_many", EACH * OBJECTS)


@pytest.fixture
def large(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """One file of so many megabytes, and its records."""
    path, count = tmp_path / "large.csv", 0
    with path.open("wb") as file:
        while file.tell() < MEGABYTES * 1_000_000:
            file.write(
                "".join(f"l{n:09d},{n % 89}.5,{n % 7}.0\n" for n in range(count, count + 100_000)).encode()
            )
            count += 100_000
    yield path, count
    path.unlink()


def test_a_very_large_object(deployment: Deployment, large: tuple[Path, int]) -> None:
    """It is cut into many shards, for two instances to share."""
    path, count = large
    deployment.s3.upload_file(str(path), split_s3_uri(BUCKET)[0], "records/in/bench_large/all.csv")
    run_and_check(deployment, "bench_large", count)
