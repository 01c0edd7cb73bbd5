"""Builds scored.json: the jobs, counts and joined parts of a run, which is all that checks, publish and report need.

It is written when the counts are reconciled. From then on another run can publish this one, even when Airflow no longer
has this one's tasks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from batch_inference.aws.instance_memory import read_peak_memory_share
from batch_inference.aws.s3 import Storage
from batch_inference.aws.transform_logs import read_instance_activity
from batch_inference.common.errors import ReconciliationError
from batch_inference.common.names import RunPaths
from batch_inference.config.sections.record_rules import FrozenModel
from batch_inference.planning.clusters.calibration import CalibrationResult
from batch_inference.pricing.costs import merge_jobs
from batch_inference.run.handoffs import PREPROCESS_JOB
from batch_inference.run.join_inputs import open_join_inputs
from batch_inference.run.run_context import RunContext
from batch_inference.run.task_ids import (
    AWAIT_JOIN_JOB,
    CALIBRATE,
    CHECKS,
    CHOOSE_JOIN,
    COLLECT_PARTS,
)
from batch_inference.verification.reconciliation import Reconciliation


class ScoredRun(FrozenModel):
    """scored.json.

    `jobs` maps a stage to its finished job, with its instances' activity; `stats` are the counts of `JoinInputs`;
    `transform_job` is the job that the manifest names; `trials` are those of `JoinInputs`, and are not in `jobs`;
    `resized` is what a canary changed in the plan;
    `requested_output` is the output of the trigger form, if it had one.
    """

    version: Literal[1] = 1
    jobs: dict[str, dict[str, Any]]
    stats: dict[str, Any]
    parts: tuple[dict[str, Any], ...]
    transform_job: dict[str, Any]
    reconciled: Reconciliation
    resized: CalibrationResult | None
    trials: tuple[dict[str, Any], ...] = ()
    requested_output: str | None

    @classmethod
    def read(cls, run: RunContext) -> ScoredRun:
        """Read what `checks` wrote; raises HandoffError when it is missing, or of another plan."""
        document = run.read_json(run.paths.scored_run, written_by=CHECKS)
        return cls.model_validate({key: document[key] for key in cls.model_fields})

    def read_profile(self, storage: Storage, paths: RunPaths) -> dict[str, Any]:
        """The merged profile of the records: `columns`, and `groups` by sensitive column; empty without preprocess."""
        job = self.stats["preprocess_job"]
        if job is None:
            return {"columns": {}, "groups": {}}
        profile: dict[str, Any] = storage.read_json(paths.build_job_paths(job).merged_profile)
        return profile


def build_scored_run(
    run: RunContext, joined_parts: Iterable[Mapping[str, Any]], *, requested_output: str | None
) -> ScoredRun:
    """The scored run, once its counts are reconciled.

    Raises:
        ReconciliationError: records in are not records rejected plus rows joined, or parts are of different jobs.
    """
    inputs, join_job = open_join_inputs(run), read_join_job(run)
    parts = select_parts(
        joined_parts, inputs.job_names, inputs.stats["groups" if join_job is None else "count"]
    )
    reconciled = inputs.reconcile(parts)
    where = run.pipeline.aws_conn_id, run.pipeline.region
    # The activity of the model's containers is read from their logs. All transform jobs together are the stage: its
    # records, its cost and its rate are those of all shards.
    measured = [_measure_job(job, *where) for job in inputs.transform_jobs]
    jobs = {"transform": measured[0] if len(measured) == 1 else merge_jobs(measured)}
    if run.pipeline.preprocess is not None:
        # `preprocess` measures itself.
        own_times = {"busy_seconds": inputs.stats["busy_seconds"], "instances": inputs.stats.get("instances")}
        jobs = {"preprocess": {**run.pull(*PREPROCESS_JOB), **own_times}, **jobs}
    return ScoredRun(
        jobs=jobs if join_job is None else {**jobs, "join": join_job},
        stats=dict(inputs.stats),
        parts=tuple(parts),
        transform_job=inputs.transform_job,
        reconciled=reconciled,
        resized=read_calibration(run),
        trials=tuple({**trial, "job": _measure_job(trial["job"], *where)} for trial in inputs.trials),
        requested_output=requested_output,
    )


def _measure_job(job: Mapping[str, Any], aws_conn_id: str | None, region: str | None) -> dict[str, Any]:
    """A transform job with its instances' activity and the most memory that one of them had."""
    measured = {**job, **read_instance_activity(aws_conn_id, region, job)}
    return {**measured, "peak_memory_share": read_peak_memory_share(aws_conn_id, region, measured)}


def read_calibration(run: RunContext) -> CalibrationResult | None:
    """What the canary changed in the plan; None for a pipeline without one."""
    result = run.pull(CALIBRATE, is_optional=True)
    if result is None:
        return None
    # The XCom has the plan's nonce besides.
    return CalibrationResult(**{name: result[name] for name in CalibrationResult.model_fields})


def read_join_job(run: RunContext) -> dict[str, Any] | None:
    """The job that joined this run; None when Airflow's workers joined it.

    When a cleared run takes the other branch, Airflow keeps the XCom of the earlier job, which is not used.
    """
    if run.pull(CHOOSE_JOIN, "job", is_optional=True) is None:
        return None
    stats = run.pull(COLLECT_PARTS, "join_stats")
    return {**run.pull(AWAIT_JOIN_JOB), **{key: stats[key] for key in ("busy_seconds", "instances")}}


def select_parts(
    joined_parts: Iterable[Mapping[str, Any]], job_names: Sequence[str], part_count: int
) -> list[dict[str, Any]]:
    """The parts that were joined from these jobs, one for each group, or for each shard of a join job.

    When a task runs again and gives fewer groups, Airflow keeps the results of the joins that are gone; they name other
    jobs.

    Raises:
        ReconciliationError: a group has no part, or two.
    """
    parts = [dict(part) for part in joined_parts if list(part["jobs"]) == list(job_names)]
    numbers = sorted(part["number"] for part in parts)
    if numbers != list(range(part_count)):
        raise ReconciliationError(
            f"the joins of {', '.join(job_names[:3])} gave the parts {numbers}, and there are {part_count} "
            f"groups; clear `join` and all that follows it"
        )
    return parts
