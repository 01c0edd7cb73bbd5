"""The four things that every case asserts."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pandas

from batch_inference.common.s3_uri import split_s3_uri
from batch_inference.publishing.output import PART_PREFIX
from local_aws.jobs.sweeper import find_processes_below
from tests.faults import data
from tests.faults.deployed.fault_tuning import POLL
from tests.faults.scenario import ACTIVE, Scenario

#: The most that an instance may be billed beyond what it should: one look at the job, and ten seconds.
BILLED_BEYOND_SECONDS = POLL["max_poll_seconds"] + 10.0
#: The same where a person has marked or cleared tasks: others must start first, on a machine with much else to do.
BILLED_BEYOND_REQUEST_SECONDS = 120.0


def check(scenario: Scenario) -> None:
    """Raises AssertionError for the first of the four that does not hold."""
    check_state(scenario)
    check_jobs(scenario)
    check_nothing_runs(scenario)
    check_output(scenario)


def check_state(scenario: Scenario) -> None:
    """The case's runs ended as they should."""
    found = tuple(sorted(scenario.states(), key=str))
    assert found == scenario.case.states, scenario.describe_state()
    if scenario.case.tries:
        counted = scenario.count_tries()
        tries = {task: counted[task] - scenario.tries_before.get(task, 0) for task in scenario.case.tries}
        assert tries == scenario.case.tries, f"not {scenario.case.tries}: {scenario.describe_state()}"


def check_jobs(scenario: Scenario) -> None:
    """So many jobs were created, and none was billed longer than it should."""
    case = scenario.case
    created = {stage: [job["name"] for job in scenario.jobs(stage)] for stage in ("preprocess", "transform")}
    assert {stage: len(names) for stage, names in created.items()} == {
        "preprocess": case.preprocess,
        "transform": case.transform,
    }, created
    for job in scenario.jobs():
        excess = compute_excess_seconds(
            job, scenario.unwanted_since.get(job["name"]), scenario.get_job_deadline(job)
        )
        allowed = BILLED_BEYOND_SECONDS
        if job["name"] in scenario.stopped_by_tasks:
            allowed = BILLED_BEYOND_REQUEST_SECONDS
            reason = scenario.read_stop_reason(job) or ""
            assert reason.startswith("its "), f"{job['name']} was not stopped by its run, but: {reason!r}"
        assert excess <= allowed, f"{job['name']} was billed {excess:.1f} s too long: {job}"


def compute_excess_seconds(job: dict[str, Any], unwanted_at: float | None, time_is_up: float | None) -> float:
    """Seconds that each instance was billed beyond what the job was wanted for.

    A job is wanted until its work is done, until somebody says that it is not, or until its time is up.
    """
    if job["started_at"] is None:
        return 0.0
    done = max((host["ended"] for host in job["instances"] or () if host["ended"]), default=job["ended_at"])
    until = min(moment for moment in (done, unwanted_at, time_is_up) if moment is not None)
    return float(job["billed_seconds"] - max(0.0, until - job["started_at"]))


def check_nothing_runs(scenario: Scenario) -> None:
    """No job is at work, no container of one is left, and no model but where the case says so."""
    assert [job["name"] for job in scenario.jobs() if job["status"] in ACTIVE] == []
    assert find_running_containers(scenario) == []
    client = scenario.suite.aws.server.client("sagemaker")
    models = [
        model["ModelName"] for model in client.list_models(NameContains=scenario.job_name_prefix)["Models"]
    ]
    assert bool(models) == scenario.case.leaves_model, models


def find_running_containers(scenario: Scenario) -> list[str]:
    """Folders of the pipeline's jobs in which a process is still at work."""
    left = []
    for spec in (scenario.suite.aws.data_dir / "work").glob("*/*/SPEC.json"):
        name = json.loads(spec.read_text())["name"]
        if name.startswith(scenario.job_name_prefix) and list(find_processes_below(spec.parent)):
            left.append(name)
    return left


def list_output_names(scenario: Scenario, prefix: str) -> set[str]:
    """Names of the files in the output."""
    s3 = scenario.suite.aws.s3
    listed = s3.list_objects_v2(Bucket=data.BUCKET, Prefix=prefix).get("Contents", [])
    return {Path(entry["Key"]).name for entry in listed}


def check_output(scenario: Scenario) -> None:
    """Every row is published, read back and counted; or there is nothing at all.

    Files of a try that could not remove them itself are for the janitor.
    """
    s3 = scenario.suite.aws.s3
    bucket, prefix = split_s3_uri(scenario.output)
    if any(PART_PREFIX in name for name in list_output_names(scenario, prefix)):
        scenario.suite.run_janitor()
    names = list_output_names(scenario, prefix)
    if not scenario.case.published:
        assert names == scenario.case.keeps
        return
    manifest = json.loads(s3.get_object(Bucket=bucket, Key=f"{prefix}_manifest.json")["Body"].read())
    parts = [split_s3_uri(file["uri"])[1] for file in manifest["files"]]
    assert names == {"_manifest.json", "_SUCCESS", *(Path(part).name for part in parts)}
    bodies = (s3.get_object(Bucket=bucket, Key=part)["Body"].read() for part in parts)
    rows = pandas.concat([pandas.read_parquet(io.BytesIO(body)) for body in bodies], ignore_index=True)
    data.check_published(rows, manifest["records"], without_bad=scenario.case.bad_record)
