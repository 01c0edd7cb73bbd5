"""Pipelines of several teams with runs in every state, as Airflow's database and the bucket would hold them.

Times are relative to now, as what is late depends on it: a nightly run has its place in the list of the last nights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from batch_inference.aws.s3 import Storage
from batch_inference.reporting.report import render_html
from batch_inference.reporting.summary import build_summary
from tests.integration.batch_runs.database import Database
from tests.unit.builders import pipeline, plan
from tests.unit.reporting.test_charts import everything

#: The nights of a pipeline that has run for a while.
NIGHTS = 40
#: The tasks of a run in their order.
TASKS = (
    "plan", "preprocess", "await_preprocess", "transform", "await_transform", "choose_join", "join", "collect_parts",
    "checks", "publish",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Why a run failed: the task, the sentence, what to do, and the last lines of the container."""

    task: str
    headline: str
    advice: str
    error: str = "SageMakerJobError"
    log_lines: tuple[str, ...] = ()


REASONS = {
    "plan": Reason(
        task="plan",
        error="EmptyInputError",
        headline="The input s3://data/risk/trunsactions/2026-11-27/ holds no object.",
        advice="Check input.uri in risk/fraud.yaml: s3://data/risk/transactions/ has objects.",
    ),
    "rejects": Reason(
        task="await_preprocess",
        error="TooManyRejectsError",
        headline="19,000 of 20,000 records were rejected; max_rejected allows 1,000 (5%).",
        advice="Look at the rejects by reason and column on this page.",
    ),
    "column": Reason(
        task="await_preprocess",
        headline="The column balance is not in the header of s3://data/risk/in/part-00007.csv.",
        advice="Add the column to the file, or declare it optional in the pipeline file.",
        log_lines=("reading s3://data/risk/in/part-00007.csv", "found id, age, balnce; required is balance"),
    ),
    "model": Reason(
        task="await_transform",
        headline="The model raised KeyError: 'age_bucket' in predict_fn (inference.py, line 41).",
        advice="Fix the code of the model, then clear transform.",
        log_lines=(
            "Traceback (most recent call last):",
            '  File "/opt/ml/code/inference.py", line 41, in predict_fn',
            "    features = data[COLUMNS + ['age_bucket']]",
            "KeyError: 'age_bucket'",
        ),
    ),
    "join": Reason(
        task="join",
        error="ReconciliationError",
        headline="Of 68 records, 8 were rejected and 59 joined: 1 record is missing.",
        advice="Clear transform and what follows it.",
    ),
    "publish": Reason(
        task="publish",
        error="OutputConflictError",
        headline="The manifest at s3://data/out/date=2026-11-26/ is not of this pipeline.",
        advice="Give the pipelines different output prefixes.",
    ),
    "held": Reason(
        task="checks",
        error="RunHeldByGatesError",
        headline="The gate rows holds the run: 60 rows are 0.20 times the 300 of the last runs.",
        advice="Publish it anyway with the param publish_held, or mend the input and start a new run.",
    ),
}  # fmt: skip


class Teams:
    """Adds pipelines and runs; `now` is the moment that they are relative to."""

    def __init__(self, database: Database, storage: Storage) -> None:
        self.database, self.storage = database, storage
        self.now = datetime.now(UTC).replace(microsecond=0)

    def add_pipeline(self, dag_id: str, nights: int = NIGHTS, *, of: int = 68, **columns: Any) -> None:
        """A nightly pipeline with published runs of about `of` records until the night before the last."""
        next_run = None if columns.get("is_paused") else self.now + timedelta(hours=9)
        self.database.add_dag(dag_id, **{"next_dagrun_create_after": next_run, **columns})
        if not nights:
            return
        run_ids = [f"scheduled__{self.find_start(night):%Y-%m-%dT%H:%M:%S}" for night in range(nights, 0, -1)]
        self.database.add_runs(dag_id, run_ids)
        self.database.add_instances(dag_id, run_ids, dict.fromkeys([*TASKS, "clean_up"], "success"))
        outcomes = {}
        for night, run_id in zip(range(nights, 0, -1), run_ids, strict=True):
            minutes = 12 + night % 5
            self._place(dag_id, run_id, night, minutes=minutes)
            records = of + (night * 7) % 11
            outcomes[run_id] = self.build_outcome(
                records={"in": records, "rejected": 2, "scored": records - 2}, seconds=60.0 * minutes
            )
        self.database.push_xcoms(dag_id, "clean_up", outcomes, key="outcome")

    def add_run(
        self,
        dag_id: str,
        run_id: str,
        *,
        night: float = 0,
        minutes: float | None = 14,
        state: str = "success",
        tasks: Mapping[str, str | None] | None = None,
        outcome: Mapping[str, Any] | None = None,
        planned: Mapping[str, Any] | None = None,
        **columns: Any,
    ) -> None:
        """One run `night` nights ago, with the states of its tasks and what `plan` and `clean_up` pushed."""
        self.database.add_runs(dag_id, [run_id], state=state)
        self._place(dag_id, run_id, night, minutes=minutes, **columns)
        if tasks:
            self.database.add_tasks(dag_id, run_id, tasks)
        if planned is not None:
            self.database.push_xcom(dag_id, run_id, "plan", dict(planned))
        if outcome is not None:
            self.database.push_xcom(dag_id, run_id, "clean_up", dict(outcome), key="outcome")

    def add_failed_run(self, dag_id: str, reason: Reason, *, kind: str = "failed", **more: Any) -> None:
        """A run that failed in the task of `reason`; what follows was not reached."""
        run_id = str(more.pop("run_id", f"scheduled__failed_at_{reason.task}"))
        at = TASKS.index(reason.task)
        tasks: dict[str, str | None] = {
            **dict.fromkeys(TASKS[:at], "success"), reason.task: "failed",
            **dict.fromkeys(TASKS[at + 1 :], "upstream_failed"), "clean_up": "failed",
        }  # fmt: skip
        outcome = self.build_outcome(
            kind=kind, failed_task=reason.task, headline=reason.headline, advice=reason.advice, published_rows=None,
            dollars=0.0 if at == 0 else 0.0123,
        )  # fmt: skip
        planned = None if at == 0 else plan([20_000_000] * 2).to_xcom()
        self.add_run(
            dag_id, run_id, state="failed", tasks=tasks, outcome=outcome, planned=planned, minutes=6, **more
        )
        failure = self.build_failure(reason)
        self.database.push_xcom(dag_id, run_id, reason.task, failure, key="failure")

    def add_published_run(self, dag_id: str, run_id: str, report: Mapping[str, Any], **more: Any) -> None:
        """A published run with report.json and report.html in the bucket."""
        uri = f"s3://bucket/work/{dag_id.replace('.', '/')}/{run_id}/report."
        addresses = {"report_json": f"{uri}json", "report_html": f"{uri}html"}
        outcome = self.build_outcome(
            records={key: report["records"][key] for key in ("in", "rejected", "scored")},
            published_rows=report["output"]["rows"], dollars=report["total"]["dollars"], **addresses,
        )  # fmt: skip
        tasks = dict.fromkeys([*TASKS, "clean_up"], "success")
        planned = plan([20_000_000] * 2).to_xcom()
        self.add_run(dag_id, run_id, tasks=tasks, outcome=outcome, planned=planned, **more)
        self.database.push_xcom(dag_id, run_id, "clean_up", {**build_summary(report), **addresses})
        self.storage.write_json(addresses["report_json"], dict(report))
        self.storage.write(addresses["report_html"], render_html(dict(report)))

    def build_outcome(self, **changes: Any) -> dict[str, Any]:
        """What `clean_up` pushes of a run: of a published one, with other values."""
        records = changes.get("records")
        return {
            "version": 1, "kind": "published", "data_time": f"{self.now:%Y-%m-%dT02:00:00Z}", "failed_task": None,
            "headline": "The run has published.", "advice": None, "warnings": [], "records": None,
            "published_rows": records["scored"] if records else None, "seconds": 600.0, "billed_seconds": 480.0,
            "idle_seconds": 60.0, "dollars": 0.0192, "expected_seconds": 780.0, "expected_dollars": 0.021,
            "report_json": None, "report_html": None, **changes,
        }  # fmt: skip

    def build_failure(self, reason: Reason, *, will_retry: bool = False) -> dict[str, Any]:
        """What the task that failed pushes."""
        job_name = None if reason.task in ("plan", "publish", "checks") else f"{reason.task}-0123456789ab-1"
        return {
            "task_id": reason.task, "map_index": -1, "try_number": 1, "at": self.now.timestamp() - 600,
            "error": reason.error, "headline": reason.headline, "message": f"{reason.headline}\n{reason.advice}",
            "advice": reason.advice, "job_name": job_name,
            "log_group": None if job_name is None else "/aws/sagemaker/TransformJobs",
            "log_lines": list(reason.log_lines), "will_retry": will_retry,
        }  # fmt: skip

    def find_start(self, night: float) -> datetime:
        """The start of the run `night` nights ago; the last one began three hours ago."""
        return self.now - timedelta(days=night, hours=3)

    def _place(
        self, dag_id: str, run_id: str, night: float, *, minutes: float | None, **columns: Any
    ) -> None:
        start = self.find_start(night)
        times = {
            "run_after": start, "logical_date": start, "start_date": start,
            "end_date": None if minutes is None else start + timedelta(minutes=minutes),
        }  # fmt: skip
        self.database.change_run(dag_id, run_id, **{**times, **columns})


def fill_pipelines(database: Database, storage: Storage) -> Teams:
    """Sixteen pipelines: a wrong file, failures at every stage, late, running, queued, held, paused and well."""
    teams = Teams(database, storage)
    _add_failed_pipelines(teams)
    _add_active_pipelines(teams)
    _add_quiet_pipelines(teams)
    _add_wrong_files(teams)
    return teams


def _add_failed_pipelines(teams: Teams) -> None:
    teams.add_pipeline("risk.churn", of=41_000)
    for night, reason in ((9.5, "column"), (5.5, "join"), (3.5, "publish")):
        teams.add_failed_run("risk.churn", REASONS[reason], night=night)
    teams.add_failed_run("risk.churn", REASONS["model"])
    teams.add_pipeline("risk.fraud", of=900)
    teams.add_failed_run("risk.fraud", REASONS["plan"])
    teams.add_pipeline("risk.limits", of=20_000)
    teams.add_failed_run("risk.limits", REASONS["rejects"])
    teams.add_pipeline("ops.sensors", of=300)
    teams.add_failed_run("ops.sensors", REASONS["held"], kind="held")
    # Killed from outside: no task has told why, and clean_up was killed as well.
    teams.add_pipeline("ops.killed", of=300)
    teams.add_run(
        "ops.killed",
        "scheduled__killed",
        state="failed",
        tasks={
            "plan": "success",
            "preprocess": "success",
            "await_preprocess": "failed",
            "clean_up": "failed",
        },
        planned=plan([20_000_000] * 2).to_xcom(),
    )


def _add_active_pipelines(teams: Teams) -> None:
    planned = plan([20_000_000] * 2).to_xcom()
    late = {**planned, "deadline": (teams.now - timedelta(hours=1)).isoformat()}
    tasks: Mapping[str, str | None] = {
        "plan": "success", "preprocess": "success", "await_preprocess": "success", "transform": "running",
        "clean_up": None,
    }  # fmt: skip
    going: dict[str, Any] = {"state": "running", "minutes": None, "tasks": tasks}
    teams.add_pipeline("marketing.uplift", of=5_000)
    teams.add_run("marketing.uplift", "scheduled__late", planned=late, **going)
    teams.add_pipeline("marketing.segments", of=5_000)
    teams.add_run("marketing.segments", "scheduled__running", planned=planned, **going)
    # Its job was lost once; the next try comes.
    teams.database.add_tasks("marketing.segments", "scheduled__running", {"await_transform": "up_for_retry"})
    failure = teams.build_failure(REASONS["model"], will_retry=True)
    teams.database.push_xcom(
        "marketing.segments", "scheduled__running", "await_transform", failure, key="failure"
    )
    teams.add_pipeline("marketing.newsletter", of=5_000)
    teams.add_run("marketing.newsletter", "scheduled__queued", state="queued", minutes=None, start_date=None)


def _plan_with_types(*, is_dry_run: bool) -> dict[str, Any]:
    """A plan with a deadline, a budget, and several instance types to choose from."""
    types = ["ml.m5.large", "ml.c5.2xlarge", "ml.m5.24xlarge", "ml.c4.xlarge"]
    of = pipeline({"transform.instance_types": types, "transform.max_instances": 4})
    return plan([400_000_000] * 2, of=of, deadline="40", budget=2.0, dry_run=is_dry_run).to_xcom()


def _add_quiet_pipelines(teams: Teams) -> None:
    done = dict.fromkeys([*TASKS, "clean_up"], "skipped") | {"plan": "success", "clean_up": "success"}
    for dag_id, kind, changes, headline in (
        ("pricing.rates", "plan_only", {"dry_run": True}, "Only planned, as asked: no job was started."),
        (
            "pricing.basket",
            "empty",
            {"empty": True},
            "Nothing to score: s3://data/basket/ holds no object with content.",
        ),
        ("pricing.shelf", "unchanged", {"unchanged_since": "scheduled__2026-11-25"}, "Nothing has changed."),
    ):
        teams.add_pipeline(dag_id, of=1_200)
        outcome = teams.build_outcome(
            kind=kind,
            headline=headline,
            published_rows=None,
            dollars=0.0,
            seconds=None,
            billed_seconds=0.0,
            idle_seconds=0.0,
        )
        planned = {**_plan_with_types(is_dry_run=kind == "plan_only"), **changes}
        teams.add_run(dag_id, f"scheduled__{kind}", tasks=done, outcome=outcome, planned=planned, minutes=0.5)
    teams.add_pipeline("ops.forecast", 0)
    teams.add_pipeline("ops.archive", is_paused=True, of=200)
    teams.add_pipeline("open_abalone", 12)
    people = {"run_type": "manual", "triggering_user_name": "ana"}
    teams.add_run(
        "open_abalone",
        "manual__old",
        night=1.6,
        tasks={"plan": "success", "publish": "success", "clean_up": "success"},
        **people,
    )
    # An older version of this package pushed no outcome.
    teams.database.push_xcom("open_abalone", "manual__old", "clean_up", build_summary(everything()))
    teams.add_run(
        "open_abalone",
        "backfill__rejecting",
        night=0.8,
        run_type="backfill",
        tasks=dict.fromkeys([*TASKS, "clean_up"], "success"),
        outcome=teams.build_outcome(
            records={"in": 20_000, "rejected": 19_000, "scored": 1_000},
            warnings=["1,000 rows were published; the last 10 runs published 4,100 on average."],
        ),
    )
    teams.add_published_run("open_abalone", "manual__published", everything(), night=0.2, **people)


def _add_wrong_files(teams: Teams) -> None:
    wrong = (
        "RefusedFileError: /srv/bundle/pipelines/ops/meter.yaml: line 12, transform.max_instances: found 400; allowed "
        "is a number of at most 100"
    )
    teams.add_pipeline("ops.meter", of=700, is_stale=True)
    teams.database.add_import_error("pipelines/ops/meter.yaml#ops.meter", wrong)
    teams.database.add_import_error("pipelines/ops/fresh.yaml#ops.fresh", wrong.replace("meter", "fresh"))


def list_dag_ids() -> Sequence[str]:
    """The pipelines that `fill_pipelines` adds and Airflow has a DAG of."""
    return (
        "risk.churn", "risk.fraud", "risk.limits", "ops.sensors", "ops.killed", "marketing.uplift",
        "marketing.segments", "marketing.newsletter", "pricing.rates", "pricing.basket", "pricing.shelf",
        "ops.forecast", "ops.archive", "open_abalone", "ops.meter",
    )  # fmt: skip
