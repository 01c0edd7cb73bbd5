"""The runner as the process that the control plane starts: events, signals, death, isolation, memory."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any

import psutil
import pytest

from local_aws.runner.containers.sandbox import ISOLATION_MODES, detect_isolation
from tests.integration.local_aws.runner.harness import REPOSITORY, Aws
from tools.benchmarks.embedded_aws import ECHO

CSV_LINES = {"ContentType": "text/csv", "SplitType": "Line"}
CSV_OUT = {"Accept": "text/csv", "AssembleWith": "Line"}


def next_event(stream: IO[str] | None) -> dict[str, Any]:
    assert stream is not None
    return dict(json.loads(stream.readline()))


def works_here(mode: str) -> bool:
    try:
        return detect_isolation(mode) == mode
    except RuntimeError:
        return False


MODES_HERE = [mode for mode in ISOLATION_MODES if works_here(mode)]


def is_running(pid: int) -> bool:
    """Whether the process exists and has not ended; it may end while it is looked at."""
    try:
        return psutil.Process(pid).status() != "zombie"
    except psutil.NoSuchProcess:
        return False


def wait_until_gone(pids: set[int], seconds: float = 60) -> set[int]:
    """Those of `pids` that still run after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        left = {pid for pid in pids if is_running(pid)}
        if not left:
            return set()
        time.sleep(0.05)
    return left


# Starts a process of its own that would outlive a careless runner, and ignores SIGTERM itself.
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
print("up", flush=True)
time.sleep(300)
"""


def with_containers(pid: int, sleepers: int) -> set[int]:
    """All below `pid`, once so many processes of STUBBORN sleep; what only tries the isolation has gone by then."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        found = psutil.Process(pid).children(recursive=True)
        lines = []
        for child in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                lines.append(child.cmdline()[-1:])
        if sum("time.sleep(300)" in line[0] for line in lines if line) >= sleepers:
            return {child.pid for child in found}
        time.sleep(0.05)
    raise AssertionError(f"no {sleepers} processes of the containers below {pid} in 120 s")


@pytest.mark.parametrize("mode", MODES_HERE)
def test_no_process_survives_a_runner_that_is_killed(aws: Aws, mode: str) -> None:
    request = aws.processing_request(["python3", "-c", STUBBORN], instances=2)
    process = aws.start(aws.spec("processing", request, settings={"isolation": mode}))
    assert next_event(process.stdout)["event"] == "started"
    started = with_containers(process.pid, sleepers=4)
    process.kill()
    assert not wait_until_gone(started)


def test_no_process_survives_the_server_that_started_the_runner(aws: Aws) -> None:
    """The runner watches its parent: the one here ends at once."""
    spec = aws.spec("processing", aws.processing_request(["python3", "-c", STUBBORN]))
    source = (
        "import subprocess, sys, time\n"
        f"p = subprocess.Popen([{sys.executable!r}, '-m', 'local_aws.runner', {str(spec)!r}])\n"
        "print(p.pid, flush=True)\ntime.sleep(600)\n"
    )
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(REPOSITORY)}
    parent = subprocess.Popen(
        [sys.executable, "-c", source], env=environment, stdout=subprocess.PIPE, text=True
    )
    aws.processes.append(parent)
    assert parent.stdout is not None
    runner = int(parent.stdout.readline())
    started = with_containers(runner, sleepers=2) | {runner}
    parent.kill()
    assert not wait_until_gone(started)


@pytest.mark.parametrize("mode", MODES_HERE)
def test_every_isolation_gives_a_container_its_own_folders(aws: Aws, mode: str) -> None:
    """With SAGEMAKER_BASE_DIR, paths below /opt/ml in command and environment point to the private folder."""
    source = """
import json, os, sys
base = os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")
with open(sys.argv[1]) as file:
    text = file.read()
with open(os.environ["OUT"] + "/copy", "w") as file:
    file.write(text)
mine = os.path.join(os.environ["TMPDIR"], "mine")
os.close(os.open(mine, os.O_CREAT | os.O_EXCL))
print(base, mine)
"""
    aws.put_all({"in/a": "text"})
    ended = aws.processing(
        ["python3", "-c", source],
        arguments=["/opt/ml/processing/input/data/a"],
        inputs=[aws.build_processing_input("data", "in/")],
        outputs=[aws.build_processing_output("output", "out")],
        Environment={"OUT": "/opt/ml/processing/output"},
        settings={"isolation": mode},
    )
    assert ended.outcome == ("Completed", None)
    assert aws.tree("out/") == {"copy": b"text"}
    ((line,),) = aws.log_lines("processing").values()
    assert (line == "/opt/ml /tmp/mine") == (mode != "base_dir")
    assert not Path("/tmp/mine").exists()


@pytest.mark.parametrize("mode", [mode for mode in MODES_HERE if mode != "base_dir"])
def test_the_machines_files_are_read_only_for_a_container_and_shared_memory_is_its_own(
    aws: Aws, mode: str
) -> None:
    source = """
import errno, multiprocessing, os, sys
multiprocessing.Semaphore(1)
for path in sys.argv[1:]:
    try:
        open(path + "/left-behind", "w").close()
        print(path, "written")
    except OSError as error:
        print(path, errno.errorcode[error.errno])
"""
    places = ["/opt/ml", "/tmp", "/dev/shm", "/etc", "/var/tmp", str(REPOSITORY)]
    aws.processing(["python3", "-c", source], arguments=places, settings={"isolation": mode})
    ((*lines,),) = aws.log_lines("processing").values()
    assert lines == [f"{place} {'written' if place in places[:3] else 'EROFS'}" for place in places]
    assert not [place for place in places if Path(place, "left-behind").exists()]


def test_a_container_has_the_umask_of_containers_whatever_the_servers_is(aws: Aws) -> None:
    """The server's own files are for its owner alone; a script's are as on AWS."""
    usual = os.umask(0o077)
    try:
        ended = aws.processing(["python3", "-c", "import os; print(oct(os.umask(0)))"])
    finally:
        os.umask(usual)
    assert ended.outcome == ("Completed", None)
    assert list(aws.log_lines("processing").values()) == [["0o22"]]


@pytest.mark.parametrize("mode", MODES_HERE)
def test_model_containers_run_under_every_isolation(aws: Aws, mode: str) -> None:
    aws.put_all({"in/a": "1\n2\n"})
    ended = aws.transform(
        [aws.script(ECHO)],
        transform_input=CSV_LINES,
        transform_output=CSV_OUT,
        instances=2,
        settings={"isolation": mode},
    )
    assert ended.outcome == ("Completed", None)
    assert aws.tree("out/") == {"a.out": b"1\n2\n"}


def test_an_isolation_that_is_not_there_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(RuntimeError, match="isolation 'bwrap' does not work on this machine"):
        detect_isolation("bwrap")


def test_sigterm_stops_a_transform_and_finished_objects_stay(aws: Aws) -> None:
    slow = ECHO.replace("return body", "import time; time.sleep(600 if 'slow' in body else 0); return body")
    aws.put_all({"in/a": "1\n", "in/b": "1\nslow\n" + "1\n" * 50, "in/c": "1\n"})
    request = aws.transform_request(
        transform_input=CSV_LINES, transform_output=CSV_OUT, BatchStrategy="SingleRecord"
    )
    spec = aws.spec("transform", request, containers=[aws.script(slow)])
    process = aws.start(spec)
    assert next_event(process.stdout)["event"] == "started"
    assert next_event(process.stdout)["objects_done"] == 1
    process.send_signal(signal.SIGTERM)
    ended = aws.finish(process)
    assert ended.outcome == ("Stopped", None)
    assert aws.tree("out/") == {"a.out": b"1\n"}
    assert ended.exit_code == 0


def test_events_are_json_lines_with_their_time_and_nothing_else_is_printed(aws: Aws) -> None:
    aws.put_all({"in/a": "1\n"})
    before = time.time()
    ended = aws.finish(
        aws.start(
            aws.spec(
                "transform",
                aws.transform_request(transform_input=CSV_LINES, transform_output=CSV_OUT),
                containers=[aws.script(ECHO)],
            )
        )
    )
    assert [event["event"] for event in ended.events] == ["started", "progress", "finished"]
    times = [event["time"] for event in ended.events]
    assert before <= times[0] <= times[1] <= times[2] <= time.time()
    assert ended.log == ""


def test_a_spec_that_is_wrong_is_an_error_that_names_the_field(aws: Aws, tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    path.write_text(json.dumps({"kind": "transform", "settings": {"mb_bites": 1}}))
    process = aws.start(path)
    _out, log = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "mb_bites" in log


class Peak:
    """Largest resident memory of a process while it runs, in MB."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.mb = 0.0
        self._watched = psutil.Process(process.pid)

    def look(self) -> None:
        self.mb = max(self.mb, self._watched.memory_info().rss / 1e6)


@pytest.mark.parametrize(("split", "payload"), [("Line", 6), ("None", 0)])
def test_memory_stays_below_the_size_of_the_object(aws: Aws, split: str, payload: int) -> None:
    """120 MB in three parts; the sleeper answers each line with its length."""
    line = b"x" * 9_999 + b"\n"
    part = line * 4_000
    target = {"Bucket": aws.bucket, "Key": "in/large"}
    upload = aws.s3.create_multipart_upload(**target)["UploadId"]
    parts = [
        {
            "PartNumber": n,
            "ETag": aws.s3.upload_part(**target, UploadId=upload, PartNumber=n, Body=part)["ETag"],
        }
        for n in range(1, 4)
    ]
    aws.s3.complete_multipart_upload(**target, UploadId=upload, MultipartUpload={"Parts": parts})
    request = aws.transform_request(
        transform_input={"ContentType": "text/csv", "SplitType": split},
        transform_output={"Accept": "text/csv"},
        MaxPayloadInMB=payload,
        **({"MaxConcurrentTransforms": 4} if split == "Line" else {}),
    )
    process = aws.start(aws.spec("transform", request, containers=[{"Image": "local/sleeper:1"}]))
    peak = Peak(process)
    while process.poll() is None:
        try:
            peak.look()
        except psutil.NoSuchProcess:
            break
        time.sleep(0.02)
    ended = aws.finish(process, 120)
    assert ended.outcome == ("Completed", None)
    assert aws.get("out/large.out") == b"9999\n" * 12_000
    assert 30 < peak.mb < 110
