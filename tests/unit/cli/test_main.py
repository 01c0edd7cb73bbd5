"""The command line answers quickly, and in one line where a person can mend something."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from batch_inference.cli.main import COMMANDS, main
from tools.checkout import REPO

IMPORTED = """
import sys
from batch_inference.cli.main import main
main(["--help"])
print(*sorted({"airflow", "boto3", "pandas", "pydantic"} & set(sys.modules)), file=sys.stderr)
"""


def test_help_imports_no_command() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED],
        env={**os.environ, "PYTHONPATH": str(REPO / "include")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.strip() == ""
    assert all(f"  {name} " in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It begins with how the command is called."""
    assert main([name, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"Usage: batch-inference {name} ")


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["nonesuch"], 2, "batch-inference: No such command 'nonesuch'."),
        (["check", "--nonesuch"], 2, "batch-inference check: No such option"),
        (["check"], 1, "is in no project"),
        (["run", "churn"], 1, "batch-inference init"),
        (["baseline", "no-such-file"], 1, "batch-inference baseline: no-such-file: No such file"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str],
    status: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == status
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
