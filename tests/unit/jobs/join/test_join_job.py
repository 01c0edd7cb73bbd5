"""The join as SageMaker runs it: one process a host, each with its share of the records and all predictions."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from batch_inference.jobs.config.join_spec import JoinSpec, ShardFiles
from batch_inference.jobs.join.parts import join_part
from tests.unit.jobs.containers import ContainerResult, put, run_job

NAMES = ["id", "x"]
SPEC: dict[str, Any] = {
    "columns": [{"name": "id", "type": "string"}, {"name": "x", "type": "float"}],
    "output_format": "csv",
    "predictions": {"format": "jsonlines", "fields": {"score": "score"}},
}
RECORDS = {
    f"algo-1-{shard:05d}": "".join(
        f'"{shard}, {number}",{number}.50\n' for number in range(3 + shard)
    ).encode()
    for shard in range(5)
}
PREDICTIONS = {
    name: b"".join(b'{"score": %d.25}\n' % line for line in range(records.count(b"\n")))
    for name, records in RECORDS.items()
}


def config(spec: dict[str, Any] = SPEC) -> bytes:
    shards = [
        {"number": number, "name": name, "columns": NAMES, "records": f"job/records/{name}.csv",
         "predictions": f"other/{name}.csv.out"}
        for number, name in enumerate(RECORDS)
    ]  # fmt: skip
    return json.dumps({"version": 1, "spec": spec, "shards": shards}).encode()


def run_host(
    folder: Path,
    own: Sequence[str] = tuple(RECORDS),
    *,
    host: str = "algo-1",
    hosts: Sequence[str] = ("algo-1",),
    document: bytes | None = None,
    wheels: Path | None = None,
    **more: Any,
) -> ContainerResult:
    """One host that was brought the records of `own`."""
    base, came = folder / host, folder / host / "processing" / "input"
    put(came / "records", {f"job/records/{name}.csv": RECORDS[name] for name in own})
    put(came / "predictions", {f"other/{name}.csv.out": content for name, content in PREDICTIONS.items()})
    put(came / "config", {"join.json": document or config()})
    if wheels is not None:
        put(came / "wheels", {wheels.name: wheels.read_bytes()})
    return run_job("join", base, host=host, hosts=hosts, **more)


@pytest.mark.parametrize("hosts", [1, 2, 3])
def test_any_number_of_hosts_writes_what_an_airflow_worker_writes(tmp_path: Path, hosts: int) -> None:
    """Byte for byte, whatever host a shard came to; one host may have none."""
    names = [f"algo-{number + 1}" for number in range(hosts)]
    taken = {
        name: [shard for at, shard in enumerate(RECORDS) if at % 2 == number]
        for number, name in enumerate(names)
    }
    if hosts == 1:
        taken = {"algo-1": list(RECORDS)}
    found: dict[str, bytes] = {}
    for name in names:
        ended = run_host(tmp_path, taken[name], host=name, hosts=names)
        assert ended.message == f"{name}: {ended.manifest['rows']} rows of {len(taken[name])} shards joined"
        assert ended.manifest["hosts"] == names
        for part in ended.manifest["parts"]:
            content = (ended.output / part["key"]).read_bytes()
            assert part["bytes"] == len(content)
            assert part["sha256"] == hashlib.sha256(content).hexdigest()
            assert json.loads((ended.output / part["statistics_key"]).read_text())["rows"] == part["rows"]
            found[part["key"]] = content
    for number, shard in enumerate(RECORDS):
        records, predictions = tmp_path / "records", tmp_path / "predictions"
        for path, content in zip((records, predictions), (RECORDS[shard], PREDICTIONS[shard]), strict=True):
            path.write_bytes(content)
        part = join_part(
            [ShardFiles(shard, records, predictions, NAMES)], tmp_path / "here.csv", JoinSpec.from_dict(SPEC)
        )
        assert part["shards"] == {shard: 3 + number}
        assert found.pop(f"parts/part-{number:05d}.csv") == (tmp_path / "here.csv").read_bytes()
    assert found == {}


def test_records_without_their_predictions_fail_before_anything_is_joined(tmp_path: Path) -> None:
    base = tmp_path / "algo-1"
    put(base / "processing" / "input" / "records", {"job/records/algo-1-00001.csv": b"a,1\n"})
    put(base / "processing" / "input" / "config", {"join.json": config()})
    ended = run_job("join", base)
    assert ended.exit_code == 1
    assert ended.message == (
        "1 of the 1 shards of algo-1 have records but no predictions, algo-1-00001 first. Nothing was joined."
    )
    assert not (ended.output / "parts").exists()


def test_a_shard_whose_counts_differ_ends_the_job_with_both(tmp_path: Path) -> None:
    base = tmp_path / "algo-1"
    put(base / "processing" / "input" / "predictions", {"other/algo-1-00002.csv.out": b'{"score": 1}\n'})
    put(base / "processing" / "input" / "records", {"job/records/algo-1-00002.csv": b"a,1\nb,2\n"})
    put(base / "processing" / "input" / "config", {"join.json": config()})
    ended = run_job("join", base)
    assert ended.exit_code == 1
    assert ended.message.startswith(
        "shard algo-1-00002: 2 records but 1 predictions; record 2 ('b,2') has no"
    )
    assert ended.manifest == {}


def test_csv_needs_no_pyarrow_and_parquet_says_that_it_does_before_data_is_read(tmp_path: Path) -> None:
    """The same bytes from an image without pyarrow; with Parquet wanted, its absence is the message."""
    ended = run_host(tmp_path, without=["pyarrow"])
    assert ended.exit_code == 0, ended.stderr
    first = (ended.output / "parts" / "part-00000.csv").read_bytes()
    assert first == b'id,x,score\n"0, 0",0.50,0.25\n"0, 1",1.50,1.25\n"0, 2",2.50,2.25\n'
    parquet = config({**SPEC, "output_format": "parquet"})
    ended = run_host(tmp_path / "parquet", document=parquet, without=["pyarrow"])
    assert ended.exit_code == 1
    assert ended.message.startswith("join.format is parquet, which needs pyarrow, and this image has none; ")
    assert not (ended.output / "parts").exists()


def wheel(folder: Path, name: str, content: str) -> Path:
    """A wheel of one module."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        info = f"{name}-1.0.dist-info"
        archive.writestr(f"{name}.py", content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(
            f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n"
        )
    return path


def test_what_the_image_lacks_can_be_shipped_as_wheels(tmp_path: Path) -> None:
    """They are installed for the job alone, without an index, and come before what the image has."""
    shipped = wheel(tmp_path, "pyarrow", "raise ImportError('this is the shipped one')\n")
    parquet = config({**SPEC, "output_format": "parquet"})
    ended = run_host(tmp_path, document=parquet, wheels=shipped)
    assert ended.exit_code == 1
    assert ended.message.startswith("join.format is parquet, which needs pyarrow")
    (tmp_path / "bad").mkdir()
    broken = tmp_path / "bad" / "pyarrow-1.0-py3-none-any.whl"
    broken.write_bytes(b"no wheel")
    ended = run_host(tmp_path / "bad", wheels=broken)
    assert ended.exit_code == 1
    assert ended.message.startswith("the wheels that the pipeline ships cannot be installed here: ")
