"""`batch-inference costs`: the sums that runs stored, and the same again from the records of the runs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from batch_inference.aws.s3 import Storage
from batch_inference.cli.main import main
from batch_inference.common.names import CostPaths, build_runs_prefix
from batch_inference.publishing.cost_records import write_run_cost
from tests.integration.batch_runs.cost_months import build_run
from tests.unit.builders import document

Run = Callable[..., tuple[int, str, str]]
NIGHT = datetime(2026, 3, 10, 2, tzinfo=UTC)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two pipelines of which one ran, in the working folder."""
    folder = tmp_path / "dags" / "pipelines" / "risk"
    folder.mkdir(parents=True)
    for name in ("churn", "fraud"):
        content = document({"name": name, "work": "s3://bucket/cli"})
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(project: Path, storage: Storage, capsys: pytest.CaptureFixture[str]) -> Run:
    """Calls the command as people do: its status, and both outputs."""

    def called(*arguments: str) -> tuple[int, str, str]:
        status = main(["costs", *arguments, "--endpoint-url", storage.client.meta.endpoint_url])
        outputs = capsys.readouterr()
        return status, outputs.out, outputs.err

    return called


def test_a_month_is_printed_and_can_be_counted_again(storage: Storage, run: Run) -> None:
    """Failed runs are in it; the other pipeline has no costs."""
    paths = CostPaths(build_runs_prefix(work="s3://bucket/cli", pipeline="risk.churn"))
    for number, outcome in enumerate(("published", "failed")):
        write_run_cost(
            storage,
            paths,
            build_run("risk.churn", number, NIGHT, tags={"centre": "7"}, outcome=outcome, dollars=0.75),
        )
    status, output, problems = run("--month", "2026-03")
    assert status == 0, problems
    lines = [line.split() for line in output.splitlines()]
    assert ["risk.churn", "$2.00", "$1.00", "2", "10,000", "$0.20", "37.5%"] in lines
    assert [line[0] for line in lines if line] == ["pipeline", "risk.churn", "all"]

    storage.write_json(paths.build_month_uri("2026-03"), {"version": 0})
    assert run("risk.churn", "--month", "2026-03", "--rebuild")[:2] == (0, output)
    table = run("--month", "2026-03", "--csv")[1].splitlines()
    assert table[1].startswith("2026-03-10,risk.churn,risk,2,1,4,10000,2.000000,1.000000")
    assert "No run had a job in 2026-04" in "".join(run("--month", "2026-04")[1:])


def test_a_month_that_is_none_is_refused_by_name(run: Run) -> None:
    """Before AWS is asked."""
    status, _, problems = run("--month", "March")
    assert status == 2
    assert "found --month 'March'; allowed is a month such as 2026-11" in problems
