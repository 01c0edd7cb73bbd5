"""`make run` as a person types it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pandas
import psutil
import pytest

from batch_inference.cli.laptop.environment import LaptopError, run_embedded_aws
from batch_inference.cli.laptop.run import download_published, get_input_prefix, use_embedded_aws
from batch_inference.planning.inputs.input_listing import S3Object
from batch_inference.planning.inputs.input_selection import InputSelection
from tools.checkout import REPO

UCI = REPO.parent / "shared" / "data" / "abalone.csv"
UMASK = os.umask(0o077)
os.umask(UMASK)
ROWS = [
    "M,0.455,0.365,0.095,0.514,0.2245,0.101,0.15,15",
    "F,0.53,0.42,0.135,0.677,0.2565,0.1415,0.21,9",
    "I,0.33,0.255,0.08,0.205,0.0895,0.0395,0.055,7",
    "X,0.44,0.365,0.125,0.516,0.2155,0.114,0.155,10",
    "M,0.35,0.265,0,0.2255,0.0995,0.0485,0.07,7",
]


def make_run(tmp_path: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `make run` with the variables, on a state folder of its own."""
    return subprocess.run(
        ["make", "run", *(f"{name}={value}" for name, value in variables.items())],
        cwd=REPO,
        env={**os.environ, "LAPTOP_STATE": str(tmp_path / "state"), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"CONF": "{not json"}, "--conf is not JSON"),
        ({"CONF": "[1, 2]"}, "--conf must be a JSON object"),
        ({"CONF": '{"transform_instance_cout": 2}'}, "did you mean 'transform_instance_count'"),
        ({"CONF": '{"transform_instance_count": 999}'}, "transform_instance_count"),
        ({"CONF": '{"input_uri": "s3://bucket/{day}/"}'}, "{day}"),
        ({"INPUT": "no-such-file.csv"}, "--input no-such-file.csv does not exist"),
        ({"OUTPUT": "README.md"}, "is a file; name a folder"),
        ({"OUTPUT": "tests"}, "holds other files"),
        ({"PIPELINE": "nonesuch"}, "known pipelines: 'abalone'"),
    ],
)
def test_what_was_asked_wrongly_is_one_clear_line(
    tmp_path: Path, variables: dict[str, str], says: str
) -> None:
    """No traceback, a status that is not 0, and nothing was started."""
    ended = make_run(tmp_path, **variables)
    lines = [line for line in ended.stderr.splitlines() if not re.match(r"make(\[\d+\])?: \*\*\*", line)]
    assert ended.returncode != 0
    assert len(lines) == 1, ended.stderr
    assert lines[0].startswith("batch-inference run: ")
    assert says in lines[0]
    assert not (tmp_path / "state").exists()


class NoEmbeddedAws(BaseHTTPRequestHandler):
    """An HTTP server that answers everything with 404, as S3 does."""

    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def test_a_run_that_is_terminated_stops_what_it_started(tmp_path: Path) -> None:
    state = tmp_path / "state"
    run = subprocess.Popen(
        [sys.executable, "-m", "batch_inference.cli", "run"], cwd=REPO, text=True, stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL, env={**os.environ, "LAPTOP_STATE": str(state)},
    )  # fmt: skip
    migration = state / "run" / "airflow" / "migrate.log"  # begins when the embedded AWS has answered
    while run.poll() is None and not migration.exists():
        time.sleep(0.1)
    run.terminate()
    assert "stopped" in run.communicate(timeout=120)[1]
    # 130, as shells also say of a program that SIGINT has killed. Python ends so in place of `sys.exit(130)` where the
    # signal came within an `exec`, such as of a dataclass that is imported.
    assert run.returncode in (130, -signal.SIGINT)
    assert not [
        each.pid for each in psutil.process_iter(["cmdline"]) if str(state) in str(each.info["cmdline"])
    ]


def test_only_an_embedded_aws_is_used_as_one(tmp_path: Path) -> None:
    """Whatever else answers there is left alone; so is a state folder of another run."""
    (tmp_path / "kept").touch()
    with ThreadingHTTPServer(("127.0.0.1", 0), NoEmbeddedAws) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        with (
            pytest.raises(LaptopError, match="no embedded AWS answers there"),
            use_embedded_aws(tmp_path, url, sys.executable),
        ):
            pytest.fail("it was used")
        server.shutdown()
    with (
        run_embedded_aws(tmp_path / "aws") as endpoint,
        use_embedded_aws(tmp_path, f"{endpoint}/", sys.executable) as used,
    ):
        assert used == endpoint
    assert (tmp_path / "kept").exists()


def test_what_an_earlier_run_left_is_replaced_and_nothing_else_is_touched(tmp_path: Path) -> None:
    """Notes beside the rows are their owner's."""

    class Client:
        """An output of one file."""

        def get_paginator(self, _: str) -> Client:
            return self

        def paginate(self, **_: str) -> list[dict[str, Any]]:
            return [{"Contents": [{"Key": "out/part-0-new.parquet"}, {"Key": "out/_manifest.json"}]}]

        def download_file(self, _: str, key: str, to: str) -> None:
            Path(to).write_text(key)

    files = [{"uri": "s3://bucket/out/part-0-old.parquet"}, {"uri": "s3://bucket/out/part-1-old.parquet"}]
    (tmp_path / "_manifest.json").write_text(json.dumps({"files": files}))
    for name in ("_SUCCESS", "part-0-old.parquet", "part-1-old.parquet", "notes.txt"):
        (tmp_path / name).touch()
    download_published(Client(), "s3://bucket/out/", tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"_manifest.json", "part-0-new.parquet", "notes.txt"}


@pytest.mark.end_to_end
@pytest.mark.timeout(600)
def test_a_file_of_ones_own_is_scored_and_left_in_a_folder(tmp_path: Path) -> None:
    """Every record of the file is accounted for, in the summary, the manifest and the rows."""
    source, expected_in, expected_rejected = tmp_path / "mine.csv", len(ROWS), 2
    if UCI.exists():
        # The real UCI data: two abalones of no height, and one higher than its shell is long.
        source.write_text(UCI.read_text())
        expected_in, expected_rejected = 4177, 3
    else:
        source.write_text("\n".join(ROWS) + "\n")
    ended = make_run(
        tmp_path, INPUT=str(source), OUTPUT=str(tmp_path / "scored"), CONF='{"transform_instance_count": 1}'
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    manifest = json.loads((tmp_path / "scored" / "_manifest.json").read_text())
    counted = {name: manifest["records"][name] for name in ("in", "rejected", "scored")}
    assert counted == {
        "in": expected_in,
        "rejected": expected_rejected,
        "scored": expected_in - expected_rejected,
    }
    parts = [pandas.read_parquet(path) for path in sorted((tmp_path / "scored").glob("part-*.parquet"))]
    rows = pandas.concat(parts)
    assert len(rows) == counted["scored"]
    assert rows["predicted_rings"].notna().all()
    assert f"{expected_in:,}" in ended.stdout
    assert "the trigger form said 1" in " ".join(ended.stdout.split())
    state = tmp_path / "state"
    assert [
        path for path in (state, *state.rglob("*")) if not path.is_symlink() and path.stat().st_mode & 0o077
    ] == []
    assert (tmp_path / "scored" / "_manifest.json").stat().st_mode & 0o777 == 0o666 & ~UMASK, (
        "the caller's own folder"
    )


@pytest.mark.parametrize("name", ["mine.csv", "_mine.csv", ".mine.csv", "mine.csv._COPYING_"])
def test_a_file_that_the_user_names_is_input_whatever_its_name_begins_with(tmp_path: Path, name: str) -> None:
    """Of a folder, control files are left out as anywhere."""
    file = tmp_path / name
    file.write_text("1\n")
    listed = [S3Object(f"own-input/{name}", 2)]
    assert (
        list(InputSelection(f"s3://bucket/{get_input_prefix(file)}", lambda _: None).select(listed)) == listed
    )
    assert get_input_prefix(tmp_path) == "own-input/"
