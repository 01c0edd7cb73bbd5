"""A host with several cores and objects works through them in as many processes, with the same outcome."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from batch_inference.jobs.common.container import Container
from batch_inference.jobs.common.errors import InputError
from batch_inference.jobs.config.preprocess_config import parse_config
from batch_inference.jobs.preprocess import workers
from batch_inference.jobs.preprocess.objects import InputObject, ObjectPart
from batch_inference.jobs.preprocess.partition import partition_parts
from batch_inference.jobs.preprocess.preprocess_job import preprocess
from tests.unit.jobs.containers import columns, config, put

AB = columns(id="string", x="float")
OBJECTS: dict[str, Any] = {
    f"{number}.csv": "".join(f"{number}-{line},{line % 7}.5\n" for line in range(100 * number)).encode()
    + b"a,one\n"
    for number in range(1, 6)
}


def run(folder: Path, objects: dict[str, bytes] = OBJECTS, **changes: Any) -> tuple[dict[str, Any], Path]:
    """One host over these objects."""
    put(folder / "processing" / "input" / "data", objects)
    container = Container(folder, "algo-1", ("algo-1",))
    rules = [{"name": "once", "rule": "duplicates"}]
    return preprocess(
        container, parse_config(config(AB, rules=rules, shard_bytes=2_000, **changes))
    ), container.output_dir


@pytest.fixture
def two_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the objects were large, and the host had two cores."""
    monkeypatch.setattr(workers, "WORKER_BYTES", 1_000)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})


def test_two_processes_leave_what_one_leaves(
    tmp_path: Path, two_processes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records in the order of the objects, the same counts, profile and rejects; duplicates over both."""
    extra: dict[str, Any] = {
        "impute": [{"column": "x", "strategy": "constant", "value": "0"}],
        "sensitive_columns": [{"column": "x", "edges": [2]}],
    }
    both, output = run(tmp_path / "two", **extra)
    assert len({shard["name"].rsplit("-", 1)[0] for shard in both["shards"]}) == 2
    monkeypatch.setattr(workers, "WORKER_BYTES", 1 << 30)
    alone, expected = run(tmp_path / "one", **extra)
    for kind in ("records", "features"):
        found = b"".join((output / shard[f"{kind}_key"]).read_bytes() for shard in both["shards"])
        assert found == b"".join((expected / shard[f"{kind}_key"]).read_bytes() for shard in alone["shards"])
    assert sorted(shard["name"] for shard in both["shards"]) == [shard["name"] for shard in both["shards"]]
    for key in ("objects", "records_in", "records_out", "rejected", "columns"):
        assert both[key] == alone[key], key
    assert both["rejected"] == {"type": 5}
    assert both["groups"] == alone["groups"]


def test_what_ends_one_process_ends_the_job_with_its_message(tmp_path: Path, two_processes: None) -> None:
    objects = {**OBJECTS, "5.csv": b"PAR1" + bytes(3_000)}
    with pytest.raises(InputError, match=r"5\.csv is a Parquet file"):
        run(tmp_path, objects)


@pytest.mark.parametrize(
    ("sizes", "cores", "expected"),
    [
        ([64, 64, 64, 64], 2, [2, 2]),
        ([64, 64, 64, 64], 8, [1, 1, 1, 1]),
        ([300, 10, 10, 10], 4, [1, 3]),
        ([10, 10, 10, 300], 4, [3, 1]),
        ([10, 10], 4, [2]),
        ([0, 0], 4, [2]),
        ([], 4, [0]),
    ],
)
def test_neighbours_are_shared_out_by_bytes(
    sizes: list[int], cores: int, expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In MB; one for each core at most, and none for less than a process is worth."""
    monkeypatch.setattr(workers, "WORKER_BYTES", 32 << 20)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)))
    count = workers.count_workers(sum(sizes) << 20)
    parts = [
        ObjectPart(InputObject(Path(), str(number), size << 20), number, size << 20)
        for number, size in enumerate(sizes)
    ]
    found = partition_parts(parts, count)
    assert [len(run) for run in found] == expected
    assert [one for run in found for one in run] == parts
