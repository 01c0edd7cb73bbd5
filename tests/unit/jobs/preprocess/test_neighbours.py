"""What lies beside a cell, a record or a block does not change how it is read."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from batch_inference.jobs.common.container import Container
from batch_inference.jobs.common.errors import JobError
from batch_inference.jobs.config.preprocess_config import parse_config
from batch_inference.jobs.preprocess import workers
from batch_inference.jobs.preprocess.preprocess_job import preprocess
from batch_inference.jobs.preprocess.readers import csv_batches
from batch_inference.jobs.preprocess.readers.csv_batches import CsvBatchReader
from batch_inference.jobs.preprocess.readers.csv_records import CsvRecordReader
from tests.unit.jobs.containers import columns, config, put
from tests.unit.jobs.preprocess.test_csv_batches import Source


def run(
    folder: Path, wanted: dict[str, Any], objects: dict[str, bytes]
) -> tuple[dict[str, Any], bytes, bytes]:
    """The manifest, the records and the features."""
    put(folder / "processing" / "input" / "data", objects)
    manifest = preprocess(Container(folder, "algo-1", ("algo-1",)), parse_config(wanted))
    output = folder / "processing" / "output"
    records, features = (
        b"".join((output / shard[f"{kind}_key"]).read_bytes() for shard in manifest["shards"])
        for kind in ("records", "features")
    )
    return manifest, records, features


@pytest.mark.parametrize("content", [b",,,k\n", b",1,,k\n,,,k\n"])
def test_imputed_values_are_cells_of_their_own(tmp_path: Path, content: bytes) -> None:
    """Of features that are not neighbours in the record, with an imputed value between them."""
    wanted = config(
        columns(a="float", b="float", c="float", d="string"),
        impute=[{"column": name, "strategy": "constant", "value": "0"} for name in "abc"],
        feature_columns=["a", "c"],
    )
    assert run(tmp_path, wanted, {"a.csv": content})[2] == b"0,0\n" * content.count(b"\n")


def test_a_column_that_an_object_lacks_is_empty_in_its_keys(tmp_path: Path) -> None:
    """Whatever the object begins with."""
    wanted = config(
        columns(b="string", a="string?"),
        rules=[{"name": "once", "rule": "duplicates", "key": ["a", "b"]}],
        input_header=True,
    )
    manifest, records, _ = run(tmp_path, wanted, {"1.csv": b"b\n\nx\n", "2.csv": b"b\nx\nx\n"})
    assert (records, manifest["rejected"]) == (b"x\n", {"once": 2})


def test_a_record_that_cannot_be_decoded_shows_how_many_columns_its_object_has(tmp_path: Path) -> None:
    wanted = config(columns(id="string", x="string", n="string?"))
    content = b"\xff,1,7\nk,2\n" + b"l,3,7\n" * 3
    manifest, records, _ = run(tmp_path, wanted, {"a.csv": content})
    assert (records, manifest["rejected"]) == (b"l,3,7\n" * 3, {"encoding": 1, "arity": 1})
    assert manifest["objects"][0]["columns"] == ["id", "x", "n"]


@pytest.mark.parametrize("size", [10, 1 << 20])
def test_the_columns_of_an_object_do_not_depend_on_where_its_blocks_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """The first record that fits may be far behind those that do not."""
    monkeypatch.setattr(csv_batches, "BLOCK_BYTES", size)
    wanted = config(columns(id="string", x="string", n="string?"))
    run(tmp_path, wanted, {"a.csv": b"k\n" * 30 + b"k,1,2\n"})
    rejects = next((tmp_path / "processing" / "output" / "rejects").iterdir()).read_text().splitlines()
    assert len(rejects) == 30
    assert all("1 field, the records of this object have 3" in reject for reject in rejects)


@pytest.mark.timeout(60)
def test_a_record_that_goes_on_over_blocks_is_read_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stray quote, behind which each line closes a quote and opens one; each block is longer than the one before."""
    monkeypatch.setattr(csv_batches, "BLOCK_BYTES", 1_000)
    taken: list[str] = []
    hand_over = CsvRecordReader._hand_over_line

    def counted(self: CsvRecordReader, line: str, is_failed: bool) -> str:
        taken.append(line)
        return hand_over(self, line, is_failed)

    monkeypatch.setattr(CsvRecordReader, "_hand_over_line", counted)
    lines = ['x,"', *['1,",",2'] * 5_000]

    class Blocks(Source):
        def read(self, size: int, /) -> bytes:
            return self._content.read(size)

    batches = list(CsvBatchReader(Blocks("\n".join(lines), 1), ","))
    assert sum(map(len, batches)) == len(lines)
    assert len(taken) < 5 * len(lines)


def _run_until_it_fails(run_partitions: workers.RunPartitions) -> None:
    while True:  # the pool may not have noticed yet
        run_partitions(os.getpid, [(), ()])


@pytest.mark.timeout(60)
def test_a_process_that_was_killed_is_named_whenever_it_happens() -> None:
    with workers.start_workers(2, "algo-1") as run_partitions:
        own, other = run_partitions(os.getpid, [(), ()])
        assert own == os.getpid() != other
        os.kill(other, signal.SIGKILL)
        with pytest.raises(JobError, match="one of the 2 processes of algo-1 was killed"):
            _run_until_it_fails(run_partitions)
