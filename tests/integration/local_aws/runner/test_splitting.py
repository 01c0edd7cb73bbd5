"""Splitters and batches on their own: any pieces, any records; and AWS's own splitters as an oracle."""

from __future__ import annotations

import json
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local_aws.runner.data.unpacking import gunzip
from local_aws.runner.transform.batching import Batch, Batcher, batch_lines
from local_aws.runner.transform.splitting import (
    MalformedObjectError,
    RecordTooLargeError,
    get_splitter,
    split_lines,
    split_recordio,
    split_tfrecord,
    strip_recordio,
)
from tests.integration.local_aws.runner.records import frame_record
from tests.integration.local_aws.venvs import venv

raw = st.binary(max_size=20)
no_newline = raw.map(lambda data: data.replace(b"\n", b"n"))


def cut(body: bytes, sizes: list[int]) -> Iterator[bytes]:
    """The body in pieces of these sizes, over and over."""
    at = number = 0
    while at < len(body):
        size = sizes[number % len(sizes)] if sizes else len(body)
        yield body[at : at + size]
        at += size
        number += 1


@given(
    split=st.sampled_from(["Line", "RecordIO", "TFRecord"]),
    records=st.lists(no_newline),
    sizes=st.lists(st.integers(1, 30)),
)
def test_records_are_found_however_the_object_arrives(
    split: str, records: list[bytes], sizes: list[int]
) -> None:
    splitter = get_splitter(split, single_keeps_newline=False)
    body = b"".join(frame_record(split, record) for record in records)
    found = list(splitter.split(cut(body, sizes), None))
    assert found == [frame_record(split, record) for record in records]
    assert [splitter.strip(record) for record in found] == records


@given(body=st.binary(max_size=200), sizes=st.lists(st.integers(1, 30)))
def test_lines_are_those_of_a_file(body: bytes, sizes: list[int]) -> None:
    expected = [line + b"\n" for line in body.split(b"\n")]
    expected[-1] = expected[-1][:-1]
    assert list(split_lines(cut(body, sizes), None)) == [line for line in expected if line]


def test_the_parts_of_a_cut_recordio_record_are_one_record() -> None:
    """A record that holds the magic number is written in parts; the magic stands between them."""
    magic = struct.pack("<I", 0xCED7230A)

    def part(flag: int, data: bytes) -> bytes:
        return magic + struct.pack("<I", flag << 29 | len(data)) + data + b"\0" * (-len(data) % 4)

    body = part(1, b"abcd") + part(2, b"efgh") + part(3, b"ij") + part(0, b"next")
    found = list(split_recordio([body], None))
    assert [strip_recordio(record) for record in found] == [
        b"abcd" + magic + b"efgh" + magic + b"ij",
        b"next",
    ]


@pytest.mark.parametrize(
    ("split", "body"),
    [
        (split_recordio, b"no magic here"),
        (split_recordio, frame_record("RecordIO", b"abcdef")[:-3]),
        (split_recordio, frame_record("RecordIO", b"abcdef")[:8]),
        (split_recordio, struct.pack("<II", 0xCED7230A, 1 << 29 | 4) + b"abcd"),
        (split_tfrecord, frame_record("TFRecord", b"abc")[:-1]),
        (split_tfrecord, frame_record("TFRecord", b"abc")[:12]),
    ],
)
def test_broken_framing_is_bad_input(split: Any, body: bytes) -> None:
    with pytest.raises(MalformedObjectError):
        list(split([body], None))


@pytest.mark.parametrize(("split", "framing"), [("Line", 1), ("RecordIO", 8), ("TFRecord", 16)])
def test_a_record_is_too_large_from_the_byte_over_the_limit_on(split: str, framing: int) -> None:
    splitter = get_splitter(split, single_keeps_newline=True)
    body = frame_record(split, b"12345678")
    assert list(splitter.split(cut(body, [3]), 8 + framing)) == [body]
    with pytest.raises(RecordTooLargeError):
        list(splitter.split(cut(body, [3]), 7 + framing))


@given(members=st.lists(st.binary(max_size=300), min_size=1), sizes=st.lists(st.integers(1, 50)))
def test_gzip_of_several_members_is_unpacked_piece_by_piece(members: list[bytes], sizes: list[int]) -> None:
    import gzip

    body = b"".join(gzip.compress(member) for member in members)
    assert b"".join(gunzip(cut(body, sizes))) == b"".join(members)
    with pytest.raises(EOFError):
        list(gunzip(cut(body[:-4], sizes)))


@given(
    records=st.lists(no_newline, max_size=30),
    sizes=st.lists(st.integers(1, 60)),
    limit=st.none() | st.integers(1, 60),
    last_newline=st.booleans(),
)
def test_lines_taken_by_the_block_make_the_same_requests_as_one_by_one(
    tmp_path_factory: pytest.TempPathFactory,
    records: list[bytes],
    sizes: list[int],
    limit: int | None,
    last_newline: bool,
) -> None:
    folder = tmp_path_factory.getbasetemp()
    body = b"".join(record + b"\n" for record in records)
    body = body if last_newline else body[:-1]

    def requests(batches: Iterator[Batch]) -> list[tuple[bytes, int, int | None]] | str:
        try:
            return [
                (b"".join(batch.body.iter_chunks()), batch.record_count, batch.body.length)
                for batch in batches
            ]
        except RecordTooLargeError:
            return "too large"

    one_by_one = Batcher(folder, limit, False, bytes, False).iter_batches(
        split_lines(cut(body, sizes), limit)
    )
    assert requests(batch_lines(folder, limit, cut(body, sizes))) == requests(one_by_one)


# AWS's splitters and strategies over the same files, in the environment of SageMaker's Python SDK 2.x.
ORACLE = """
import json, sys, types
answers, sys.stdout = sys.stdout, sys.stderr  # the SDK prints remarks of its own
from sagemaker.local import data
from sagemaker.local.data import get_batch_strategy_instance, get_splitter_instance

# It measures a payload as Python's object, headers included; here it is told the bytes that are sent.
data.sys = types.SimpleNamespace(getsizeof=lambda sent: len(sent if isinstance(sent, bytes) else sent.encode()))
for line in sys.stdin:
    job = json.loads(line)
    splitter = get_splitter_instance(job["split"])
    strategy = get_batch_strategy_instance(job["strategy"], splitter)
    batches = [b if isinstance(b, bytes) else b.encode() for b in strategy.pad(job["file"], job["size"])]
    print(json.dumps([batch.hex() for batch in batches]), file=answers, flush=True)
"""


@pytest.fixture(scope="module")
def oracle() -> Iterator[subprocess.Popen[str]]:
    python = venv("sagemaker-sdk-2", "sagemaker==2.257.7") / "python"
    process = subprocess.Popen(
        [str(python), "-X", "utf8", "-c", ORACLE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.communicate()


@pytest.mark.timeout(1200)  # the first run makes the environment
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(
    split=st.sampled_from(["Line", "RecordIO"]),
    records=st.lists(st.text("abcé ", max_size=20), min_size=1, max_size=12),
    strategy=st.sampled_from(["SingleRecord", "MultiRecord"]),
    limit=st.integers(60, 120),
    last_newline=st.booleans(),
)
def test_requests_are_those_of_the_sdks_local_mode(
    oracle: subprocess.Popen[str],
    tmp_path: Path,
    split: str,
    records: list[str],
    strategy: str,
    limit: int,
    last_newline: bool,
) -> None:
    """It knows Line and RecordIO. RecordIO is compared record by record: it drops the framing even from MultiRecord."""
    body = b"".join(frame_record(split, record.encode()) for record in records)
    if split == "Line" and not last_newline:
        body = body[:-1]
    if not body:
        return
    splitter = get_splitter(split, single_keeps_newline=True)
    single = strategy == "SingleRecord" or split == "RecordIO"
    batcher = Batcher(tmp_path, limit, single, splitter.strip if single else bytes, False)
    ours = [
        b"".join(batch.body.iter_chunks()) for batch in batcher.iter_batches(splitter.split([body], limit))
    ]
    file = tmp_path / "object"
    file.write_bytes(body)
    assert oracle.stdin is not None
    assert oracle.stdout is not None
    job = {
        "split": split,
        "strategy": "SingleRecord" if single else strategy,
        "file": str(file),
        "size": (limit + 1) / 1024 / 1024,  # it compares with less than
    }
    oracle.stdin.write(json.dumps(job) + "\n")
    oracle.stdin.flush()
    answer = oracle.stdout.readline()
    assert answer, oracle.stderr.read() if oracle.stderr else ""
    assert ours == [bytes.fromhex(batch) for batch in json.loads(answer)]
