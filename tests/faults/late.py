"""Two processes of one task, one of them late: its worker stalls in the middle, the next try ends, then it goes on.

Airflow takes a worker that gives no sign of life for dead and starts the next try. The stalled one may come to
afterwards, and goes on at the instruction at which it stopped: whatever it does then must harm nobody.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from tests.faults.case import Case
from tests.faults.scenario import Scenario

Arrival = Literal["at once", "late"]
ARRIVALS: tuple[Arrival, ...] = get_args(Arrival)


@dataclass(frozen=True, slots=True)
class Stall:
    """Where the first try of a task stalls.

    Attributes:
        task: its id.
        kind: of the embedded AWS's fault that holds a request of the task: "hold" or "s3_hold".
        operation: the operation that is held.
        key: what is in the key, for S3; `{name}` stands for the pipeline.
        arrives: whether the held request is carried out while the process is stalled, or after the next try has ended.
        noticed: whether the late process goes on only when Airflow has told its worker to end it.
        where: the same for people.
    """

    task: str
    kind: str
    operation: str
    where: str
    key: str = ""
    arrives: Arrival = "at once"
    noticed: bool = False

    def __call__(self, scenario: Scenario) -> None:
        """Trigger a run and stall its task."""
        only: dict[str, Any] = {"operation": self.operation}
        if self.key:
            only["key_contains"] = self.key.format(name=scenario.pipeline)
        hold = scenario.arm(self.kind, **only)
        scenario.trigger()
        scenario.wait_for_hold(hold)
        stalled = scenario.task(self.task)["try_number"]
        wake = scenario.stall_worker(self.task)
        try:
            if self.arrives == "at once":
                scenario.release_fault(hold)
            scenario.wait(
                lambda: (
                    (task := scenario.task(self.task))["try_number"] > stalled and task["state"] == "success"
                ),
                f"the next try of {self.task} is a success",
            )
        finally:
            scenario.release_fault(hold)
            wake(noticed=self.noticed)


STALLS = (
    Stall("plan", "s3_hold", "PutObject", "writes the plan", "/work/{name}/*/plan.json"),
    Stall("preprocess", "hold", "CreateProcessingJob", "submits the job"),
    Stall(
        "await_preprocess",
        "s3_hold",
        "GetObject",
        "reads the manifests of the shards",
        "/work/{name}/*/manifest/",
    ),
    Stall("transform", "hold", "CreateTransformJob", "submits the job"),
    Stall("join", "s3_hold", "PutObject", "writes a joined part", "/work/{name}/*/joined/"),
    Stall("checks", "s3_hold", "PutObject", "writes what it found", "/work/{name}/*/checks.json"),
    Stall("publish", "s3_hold", "CopyObject", "copies a part", "/output/{name}/part-"),
    Stall("publish", "s3_hold", "PutObject", "commits", "/output/{name}/_manifest.json"),
    Stall("publish", "s3_hold", "PutObject", "writes `_SUCCESS`", "/output/{name}/_SUCCESS"),
    Stall("clean_up", "s3_hold", "PutObject", "writes the report", "/work/{name}/*/report.json"),
    Stall("clean_up", "hold", "DeleteModel", "deletes the model"),
)


def stall_the_submit(scenario: Scenario) -> None:
    """While the job that both tries take for theirs is at work."""
    hold = scenario.hold_input()
    Stall("transform", "hold", "CreateTransformJob", "submits the job", noticed=True)(scenario)
    scenario.release_fault(hold)


CASES = (
    Case(
        name="late-publish",
        fault="the worker of `publish` stalls after its commit, and comes to after the next try has published",
        ending="success: the late one removes nothing that is published",
        act=Stall("publish", "s3_hold", "PutObject", "writes `_SUCCESS`", "/output/{name}/_SUCCESS"),
        tries={"publish": 2},
    ),
    Case(
        name="late-commit",
        fault="the same, but its commit reaches S3 after that of the next try",
        ending="success: S3 refuses the late commit, and the late one removes its own parts alone",
        act=Stall(
            "publish", "s3_hold", "PutObject", "commits", "/output/{name}/_manifest.json", arrives="late"
        ),
        tries={"publish": 2},
    ),
    Case(
        name="late-submit",
        fault="the worker stalls while it submits the job, and comes to when the next try has found the job",
        ending="success: the late one leaves the job to the next try",
        act=stall_the_submit,
        tries={"transform": 2},
    ),
)
