"""The command line answers quickly, and in one line where a person can mend something."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from botocore.exceptions import EndpointConnectionError, NoCredentialsError, NoRegionError

from batch_inference.cli.main import COMMANDS, describe_error, main
from batch_inference.common.errors import BatchInferenceError
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
        (["rnu"], 2, "mwaa; did you mean 'run'?"),
        (["nonesuch"], 2, "found the command 'nonesuch'; allowed are init"),
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


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (NoCredentialsError(), "Unable to locate credentials; set AWS_PROFILE"),
        (NoRegionError(), "You must specify a region; set AWS_DEFAULT_REGION"),
        (EndpointConnectionError(endpoint_url="http://127.0.0.1:1/"), "`batch-inference local-aws` starts"),
        (BatchInferenceError("as it is"), "as it is"),
    ],
)
def test_a_client_that_is_not_set_up_says_what_to_do(error: Exception, said: str) -> None:
    assert said in describe_error(error)
