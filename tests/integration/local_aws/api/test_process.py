"""Runner processes: of lower priority than the server, and in a session of their own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from local_aws.jobs.process import signal_process_group, spawn_runner

pytestmark = pytest.mark.local_only


def test_a_runner_is_nicer_than_the_server_and_leads_its_own_session(tmp_path: Path) -> None:
    """Its standard error goes to the log file, its standard output to the caller."""
    code = (
        "import os, sys; sys.stderr.write('to the log');"
        "print(os.getpriority(os.PRIO_PROCESS, 0), os.getsid(0) == os.getpid(), os.getcwd())"
    )
    process = spawn_runner(
        [sys.executable, "-c", code], cwd=tmp_path, env={}, stderr=tmp_path / "log", niceness=3
    )
    out, _ = process.communicate(timeout=30)
    niceness = min(os.getpriority(os.PRIO_PROCESS, 0) + 3, 19)
    assert out.split() == [str(niceness), "True", str(tmp_path)]
    assert (tmp_path / "log").read_text() == "to the log"


def test_a_signal_to_a_session_that_is_gone_is_no_error(tmp_path: Path) -> None:
    """It may end at any time."""
    process = spawn_runner([sys.executable, "-c", ""], cwd=tmp_path, env={}, stderr=tmp_path / "log")
    process.communicate(timeout=30)
    signal_process_group(process, 9)
    assert process.returncode == 0
