"""For any objects, split, strategy, payload, concurrency and instance count the output is what a plain loop gives."""

from __future__ import annotations

import gzip
import uuid
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.local_aws.runner.harness import Aws
from tests.integration.local_aws.runner.records import compute_expected_output, frame_record

SERVER = Path(__file__).with_name("swap_server.py")

letters = st.binary(max_size=12).map(lambda raw: raw.replace(b"\n", b"n"))
names = st.text("ab/.", min_size=1, max_size=5).filter(
    lambda name: not name.endswith("/") and "//" not in name
)


@st.composite
def jobs(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "objects": draw(st.dictionaries(names, st.lists(letters, max_size=12), min_size=1, max_size=6)),
        "split": draw(st.sampled_from(["Line", "RecordIO", "TFRecord"])),
        "single": draw(st.booleans()),
        "limit": draw(st.integers(40, 120)),
        "assemble_line": draw(st.booleans()),
        "gzip": draw(st.booleans()),
        "concurrency": draw(st.integers(1, 4)),
        "instances": draw(st.integers(1, 3)),
        "assignment": draw(st.sampled_from(["contiguous", "round_robin", "hash"])),
        "across": draw(st.booleans()),
    }


@pytest.fixture
def home(moto_url: str, tmp_path: Path) -> tuple[str, Path]:
    return moto_url, tmp_path


@settings(max_examples=15, suppress_health_check=list(HealthCheck), derandomize=True)
@given(job=jobs())
def test_the_assembled_output_equals_a_plain_loop_over_the_records(
    home: tuple[str, Path], job: dict[str, Any]
) -> None:
    url, folder = home
    aws = Aws(url, folder / uuid.uuid4().hex, "property")
    aws.folder.mkdir()
    split = job["split"]
    for name, records in job["objects"].items():
        body = b"".join(frame_record(split, record) for record in records)
        aws.put_all({f"in/x{name}": gzip.compress(body) if job["gzip"] else body})
    image = {
        "pattern": "swap:1",
        "serve": ["{python}", "-I", "-S", str(SERVER)],
        "mounts": [str(SERVER.parent)],
    }
    ended = aws.transform(
        [{"Image": "swap:1"}],
        transform_input={
            "ContentType": "x/y",
            "SplitType": split,
            "CompressionType": "Gzip" if job["gzip"] else "None",
        },
        transform_output={"AssembleWith": "Line" if job["assemble_line"] else "None"},
        instances=job["instances"],
        BatchStrategy="SingleRecord" if job["single"] else "MultiRecord",
        MaxPayloadInMB=1,
        MaxConcurrentTransforms=job["concurrency"],
        images_file=aws.images_file(image),
        settings={
            "mb_bytes": job["limit"],
            "assignment": job["assignment"],
            "concurrency_across_objects": job["across"],
            "ping_interval_seconds": 0.02,
        },
    )
    assert ended.outcome == ("Completed", None)
    assert aws.tree("out/") == {
        f"x{name}.out": compute_expected_output(
            split, records, single=job["single"], limit=job["limit"], assemble_line=job["assemble_line"]
        )
        for name, records in job["objects"].items()
    }
    assert sum(item["records"] for item in ended.instances) == sum(map(len, job["objects"].values()))
