"""Whatever is done for many records at once leaves the same, byte for byte, as record by record on one host."""

from __future__ import annotations

import csv
import io
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch_inference.jobs.common import numeric
from batch_inference.jobs.common.byte_ranges import PADDING, ByteCells
from batch_inference.jobs.common.container import Container
from batch_inference.jobs.common.errors import JobError
from batch_inference.jobs.common.groups import merge_group_counts
from batch_inference.jobs.common.profiles import merge_profiles
from batch_inference.jobs.config.preprocess_config import parse_config
from batch_inference.jobs.preprocess import peers, record_validator, workers
from batch_inference.jobs.preprocess.preprocess_job import preprocess
from batch_inference.jobs.preprocess.readers import batch, csv_batches
from tests.unit.jobs.containers import columns, config, put
from tests.unit.jobs.loopback import reserve_network

NUMBERS = st.one_of(
    st.integers(-(10**20), 10**20).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.decimals(-(10**9), 10**9, places=4).map(str),
    st.from_regex(r"[+-]?[0-9]{0,9}\.?[0-9]{0,9}(e[+-]?[0-9]{1,3})?", fullmatch=True),
    st.text(alphabet="0123456789.+-eE /:\u0663", max_size=18),
    st.sampled_from(
        ["", " 1 ", "nan", "inf", "1_0", "0x1", "-0", "-0.0", "9007199254740993", "1e400", ".", "-", "5."]
    ),
)


@settings(max_examples=500, deadline=None)
@given(cells=st.lists(NUMBERS, max_size=30), kind=st.sampled_from(["float", "integer"]))
def test_a_column_of_bytes_gives_the_numbers_of_its_cells(cells: list[str], kind: str) -> None:
    """The same doubles, bit for bit, and the same cells refused."""
    encoded = [cell.encode() for cell in cells]
    ends = np.cumsum([len(cell) + 1 for cell in encoded], dtype=np.int64) - 1
    starts = ends - np.array([len(cell) for cell in encoded], dtype=np.int64)
    buffer = b"".join(cell + b"," for cell in encoded) + bytes(PADDING)
    found = numeric.parse_byte_cells(ByteCells(buffer, starts, ends), kind)
    expected = numeric.parse_column(cells, kind)
    assert found.allowed == expected.allowed
    assert found.numbers.tobytes() == expected.numbers.tobytes()


ROWS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(["k", "l", "", " ", "é", "a,b", 'q"q', "two\nlines", "two\r\nlines", "x" * 300]),
            st.sampled_from(
                ["1", "2.5", "", "9", "-3", "1e1", " 4 ", "two", "12345678.125", "0.30000000000000004"]
            ),
            st.sampled_from(["m", "n", "o", "", "ü;"]),
            st.sampled_from(["7", "", "9007199254740993", "x", "+5"]),
        ),
        st.lists(st.sampled_from(["1", "k"]), max_size=6).map(tuple),  # another number of cells
    ),
    max_size=40,
)
RULES: list[dict[str, Any]] = [
    {"name": "small", "rule": "range", "column": "x", "max": 5},
    {"name": "once", "rule": "duplicates", "key": ["id", "note"]},
    {"name": "known", "rule": "allowed", "column": "note", "values": ["m", "n", "ü;"]},
    {"name": "there", "rule": "required", "columns": ["n"]},
    {"name": "whole", "rule": "duplicates"},
    {"name": "word", "rule": "pattern", "column": "id", "pattern": r"\w*"},
]
FEATURES = [["x", "note"], ["note", "x", "id"], ["id", "x", "note"], ["x"]]
IMPUTE = [
    {"column": "x", "strategy": "constant", "value": "0.5"},
    {"column": "note", "strategy": "constant", "value": "a,b"},
]


def write(
    rows: list[tuple[str, ...]], dialect: dict[str, Any], encoding: str, *, stray: str, header: bool
) -> bytes:
    """As CSV, with lines that no writer would write."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, **dialect)
    if header:
        writer.writerow(["id", "x", "note", "n"])
    for number, row in enumerate(rows):
        writer.writerow(row)
        if stray and number % 5 == 2:
            text.write(stray)
    return text.getvalue().encode(encoding, "replace" if encoding != "utf-8" else "surrogateescape")


@st.composite
def inputs(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, bytes]]:
    """A configuration, and objects that fit it more or less."""
    delimiter = draw(st.sampled_from([",", ",", ";", "\t"]))
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "latin-1", "utf-16"]))
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    dialect = {
        "delimiter": delimiter,
        "quoting": quoting,
        "lineterminator": draw(st.sampled_from(["\n", "\n", "\r\n"])),
    }
    strays = ["", "", "\n", 'a"b,"c\n', '"open\n', "\udcff\n", "\0\n", "a\rb\n"]
    header = draw(st.booleans())
    objects = {
        f"{number}.csv": write(
            draw(ROWS), dialect, encoding, stray=draw(st.sampled_from(strays)), header=header
        )
        for number in range(draw(st.integers(1, 4)))
    }
    wanted = config(
        columns(id="string", x="float", note="string", n="integer?" if draw(st.booleans()) else "integer"),
        rules=draw(st.permutations(RULES))[: draw(st.integers(0, len(RULES)))],
        impute=IMPUTE if draw(st.booleans()) else (),
        sensitive_columns=[{"column": "note"}, {"column": "x", "edges": [2]}],
        shard_bytes=draw(st.sampled_from([50, 400, 1 << 20])),
        feature_columns=draw(st.sampled_from(FEATURES)),
        input_delimiter=delimiter,
        input_encoding=encoding,
        input_header=header,
    )
    if draw(st.booleans()):
        path = "tests.unit.jobs.preprocess.test_many_at_once"
        wanted["function"] = {"module": path, "name": "halve"}
    return wanted, objects


def halve(frame: Any) -> Any:
    """A user's function, which changes a column and drops records."""
    frame["x"] = frame["x"] / 2
    return frame[frame["note"] != "n"]


def run_host(
    folder: Path, wanted: dict[str, Any], objects: dict[str, bytes], host: str, hosts: list[str]
) -> Any:
    """The manifest, or the error; `objects` are those that this host gets."""
    put(folder / host / "processing" / "input" / "data", objects)
    (folder / host / "processing" / "input" / "data").mkdir(parents=True, exist_ok=True)
    try:
        return preprocess(Container(folder / host, host, tuple(hosts)), parse_config(wanted))
    except JobError as error:
        return str(error)


def read_files(folder: Path) -> dict[str, Any]:
    """What lies below a folder, but for the times in manifests."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content: Any = path.read_bytes()
            if path.parent.name == "manifest":
                times = ("busy_seconds", "started_at", "ended_at")
                content = {key: value for key, value in json.loads(content).items() if key not in times}
            found[path.relative_to(folder).as_posix()] = content
    return found


@settings(max_examples=60, deadline=None)
@given(given_input=inputs(), size=st.sampled_from([20, 200, 1 << 20]))
def test_many_at_once_leave_what_each_on_its_own_leaves(
    given_input: tuple[dict[str, Any], dict[str, bytes]], size: int
) -> None:
    """Records, features, rejects, profile and manifest, byte for byte."""
    wanted, objects = given_input
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_batches, "BLOCK_BYTES", size)
        many = run_host(Path(folder, "many"), wanted, objects, "algo-1", ["algo-1"])
        patch.setattr(
            csv_batches, "_find_irregular_lines", lambda _, starts: np.ones(len(starts) - 1, dtype=bool)
        )
        patch.setattr(batch, "find_cells_with", lambda _, __, cell_ends: np.arange(len(cell_ends)))
        patch.setattr(
            record_validator, "parse_byte_cells", lambda cells, kind: numeric.parse_column(list(cells), kind)
        )
        each = run_host(Path(folder, "each"), wanted, objects, "algo-1", ["algo-1"])
        found, expected = (
            read_files(Path(folder, name, "algo-1", "processing", "output")) for name in ("many", "each")
        )
    if isinstance(each, str):
        assert many == each
    else:
        assert found == expected


class Threads(ThreadPoolExecutor):
    """In place of processes."""

    def __init__(self, count: int, mp_context: Any) -> None:
        super().__init__(count)


def collect(folder: Path, manifests: list[dict[str, Any]]) -> dict[str, Any]:
    """What the hosts left, one after the other."""
    found: dict[str, Any] = {"rejects": []}
    outputs = [folder / manifest["host"] / "processing" / "output" for manifest in manifests]
    for kind in ("records", "features"):
        found[kind] = b"".join(
            (output / shard[f"{kind}_key"]).read_bytes()
            for output, manifest in zip(outputs, manifests, strict=True)
            for shard in manifest["shards"]
        )
    for output in outputs:
        for path in (output / "rejects").iterdir():
            found["rejects"] += map(json.loads, path.read_text("utf-8").splitlines())
    found["rejects"].sort(key=lambda one: (one["source"], one["record"]))
    found["objects"] = [one for manifest in manifests for one in manifest["objects"]]
    found["groups"] = merge_group_counts(manifest["groups"] for manifest in manifests)
    paths = [output / manifest["profile_key"] for output, manifest in zip(outputs, manifests, strict=True)]
    found["profile"] = merge_profiles(json.loads(path.read_text()) for path in paths)
    for column in found["profile"].values():
        for key in ("mean", "std"):  # sums of doubles depend on their order
            if key in column:
                column[key] = pytest.approx(column[key], rel=1e-9, abs=1e-9)
    return found


@settings(max_examples=40, deadline=None)
@given(given_input=inputs(), host_count=st.integers(1, 3), cores=st.integers(1, 4), data=st.data())
def test_hosts_and_processes_together_leave_what_one_leaves(
    given_input: tuple[dict[str, Any], dict[str, bytes]], host_count: int, cores: int, data: st.DataObject
) -> None:
    """Hosts with objects of their own exchange keys; objects are cut for the processes of a host."""
    wanted, objects = given_input
    hosts = [f"algo-{number + 1}" for number in range(host_count)]
    owners = sorted(data.draw(st.sampled_from(hosts)) for _ in objects)
    resolve = socket.getaddrinfo
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch, reserve_network() as network:
        alone = run_host(Path(folder, "alone"), wanted, objects, "algo-1", ["algo-1"])
        expected = alone if isinstance(alone, str) else collect(Path(folder, "alone"), [alone])
        patch.setattr(
            socket,
            "getaddrinfo",
            lambda name, *args: resolve(name.replace("algo-", network), *args),
        )
        patch.setattr(peers, "MAX_WAIT_SECONDS", 60)  # to fail, not to hang
        patch.setattr("os.sched_getaffinity", lambda _: set(range(cores)))
        patch.setattr(workers, "WORKER_BYTES", 100)
        patch.setattr(workers, "ProcessPoolExecutor", Threads)
        with ThreadPoolExecutor(host_count) as pool:
            manifests = list(
                pool.map(
                    lambda host: run_host(
                        Path(folder),
                        {**wanted, "distribution": "ShardedByS3Key"},
                        {
                            key: objects[key]
                            for key, owner in zip(objects, owners, strict=True)
                            if owner == host
                        },
                        host,
                        hosts,
                    ),
                    hosts,
                )
            )
        errors = [one for one in manifests if isinstance(one, str)]
        if isinstance(expected, str):
            assert expected in errors
        else:
            assert not errors
            assert collect(Path(folder), manifests) == expected
