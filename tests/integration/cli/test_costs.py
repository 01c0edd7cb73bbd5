"""`batch-inference costs`: the sums that runs stored, and the same again from the records of the runs."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from batch_inference.aws.s3 import Storage
from batch_inference.cli.aws.costs import command
from batch_inference.common.names import CostPaths, build_runs_prefix
from batch_inference.publishing.cost_records import write_run_cost
from tests.integration.batch_runs.cost_months import build_run
from tests.unit.builders import document

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


def run(storage: Storage, *arguments: str) -> Result:
    """Call the command."""
    return CliRunner().invoke(command, [*arguments, "--endpoint-url", storage.client.meta.endpoint_url])


@pytest.mark.usefixtures("project")
def test_a_month_is_printed_and_can_be_counted_again(storage: Storage) -> None:
    """Failed runs are in it; the other pipeline has no costs."""
    paths = CostPaths(build_runs_prefix(work="s3://bucket/cli", pipeline="risk.churn"))
    for number, outcome in enumerate(("published", "failed")):
        write_run_cost(
            storage,
            paths,
            build_run("risk.churn", number, NIGHT, tags={"centre": "7"}, outcome=outcome, dollars=0.75),
        )
    done = run(storage, "--month", "2026-03")
    assert done.exit_code == 0, done.output
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["risk.churn", "$2.00", "$1.00", "2", "10,000", "$0.20", "37.5%"] in lines
    assert [line[0] for line in lines if line] == ["pipeline", "risk.churn", "all"]

    storage.write_json(paths.build_month_uri("2026-03"), {"version": 0})
    again = run(storage, "risk.churn", "--month", "2026-03", "--rebuild")
    assert again.stdout == done.stdout
    table = run(storage, "--month", "2026-03", "--csv").stdout.splitlines()
    assert table[1].startswith("2026-03-10,risk.churn,risk,2,1,4,10000,2.000000,1.000000")
    assert "No run had a job in 2026-04" in run(storage, "--month", "2026-04").output


@pytest.mark.usefixtures("project")
def test_a_month_that_is_none_is_refused_by_name(storage: Storage) -> None:
    """Before AWS is asked."""
    done = run(storage, "--month", "March")
    assert done.exit_code == 2
    assert "found --month 'March'; allowed is a month such as 2026-11" in done.output
