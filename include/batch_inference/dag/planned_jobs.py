"""Operators and sensors that use the pipeline and the requests as they were planned, also when the file was edited."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow.sdk import XComArg
from airflow.sdk.bases.operator import BaseOperatorMeta

from batch_inference.config.pipeline import Pipeline
from batch_inference.dag.task_functions import SkipDownstreamMixin, import_on_call
from batch_inference.dag.templates import (
    template_earlier_job_names,
    template_job_name,
    template_plan_value,
    template_submitted_job_name,
)
from batch_inference.requests.sagemaker import build_config, build_requests
from batch_inference.run import task_ids
from batch_inference.run.handoffs import PREPROCESS_JOB
from sagemaker_jobs.job.spec import JobSpec, Trial
from sagemaker_jobs.kinds import PROCESSING, TRANSFORM
from sagemaker_jobs.operators import ProcessingJobOperator, TransformJobOperator
from sagemaker_jobs.sensors import ProcessingJobSensor, TransformJobSensor

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context

    from batch_inference.planning.clusters.exploration import TrialPlan
    from sagemaker_jobs.job.describe import Job


class PlannedJobMixin(metaclass=BaseOperatorMeta):
    """Mixin: when the task runs, its connection, and an operator's request, come from the plan.

    Until then Airflow shows those of the parsed file, with templates in place of the plan's values.

    :param pipeline: the pipeline of the file.
    :param stage: the stage whose job an operator submits.
    :param values: templates of what the task fills into the stage's request, see ``build_config``; and ``trial``, the
        number of the plan's trial that the first attempt is, which renders to nothing for other jobs.
    """

    config: dict[str, Any]
    aws_conn_id: str | None
    region_name: str | None
    trial: TrialPlan | None = None

    def __init__(
        self, *, pipeline: Pipeline, stage: str = "", values: Mapping[str, str] | None = None, **kwargs: Any
    ) -> None:
        self.pipeline, self.shape, self.stage = pipeline.name, pipeline.dag_shape, stage
        if stage:
            names = {"base_name": template_job_name(stage), "model_name": template_job_name("model")}
            self.values = {**names, **(values or {})}
            kwargs["config"] = build_config(build_requests(pipeline, template_plan_value), stage, self.values)
            kwargs["replaces"] = template_earlier_job_names(stage)
        kwargs |= {"aws_conn_id": pipeline.aws_conn_id, "region_name": pipeline.region}
        super().__init__(**kwargs)

    def render_template_fields(self, context: Context, jinja_env: jinja2.Environment | None = None) -> None:
        """Read the plan, and fill its request with the rendered values; its texts are not templates."""
        from batch_inference.dag.failure_report import report_failure
        from batch_inference.planning.plan import REQUESTS_KEY
        from batch_inference.run.run_context import RunContext

        with report_failure(context["ti"]):
            run = RunContext.load(context["ti"], shape=self.shape)
            self.aws_conn_id, self.region_name = run.pipeline.aws_conn_id, run.pipeline.region
            if self.stage:
                self.config = dict(self.values)
            super().render_template_fields(context, jinja_env)  # type: ignore[misc]  # BaseOperator's
            if self.stage:
                number = self.config.pop("trial", "")
                self.trial = run.plan.trials[int(number)] if number else None
                plan = run.read_json(run.paths.plan, written_by=task_ids.PLAN)
                self.config = build_config(plan[REQUESTS_KEY], self.stage, self.config)

    def execute(self, context: Context) -> Any:
        """Begin a try; an error that ends it is reported, see `report_failure`."""
        from batch_inference.dag.failure_report import report_failure

        with report_failure(context["ti"]):
            return super().execute(context)  # type: ignore[misc]  # the operator's or sensor's

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after a deferral; an error that ends the try is reported, see `report_failure`."""
        from batch_inference.dag.failure_report import report_failure

        with report_failure(context["ti"]):
            return super().resume_execution(next_method, next_kwargs, context)  # type: ignore[misc]  # BaseOperator's


class PlannedProcessingJobOperator(PlannedJobMixin, ProcessingJobOperator):
    """Submit the processing job that was planned."""


class PlannedTransformJobOperator(PlannedJobMixin, TransformJobOperator):
    """Submit the transform job that was planned; the first attempt of a trial has the trial's settings."""

    def _make_spec(self) -> JobSpec:
        spec = super()._make_spec()
        if self.trial is None:
            return spec
        settings = self.trial.settings
        request = {
            "BatchStrategy": settings.batch_strategy,
            "MaxConcurrentTransforms": settings.max_concurrent_transforms,
            "MaxPayloadInMB": settings.max_payload_mb,
            "TransformResources": {"InstanceType": settings.instance_type},
        }
        trial = Trial(
            request=request,
            max_runtime_seconds=self.trial.max_runtime_seconds,
            max_provisioning_seconds=self.trial.max_provisioning_seconds,
        )
        return replace(spec, trial=trial)


class PlannedProcessingJobSensor(PlannedJobMixin, ProcessingJobSensor):
    """Wait for the processing job that was planned."""


class PreprocessJobSensor(PlannedProcessingJobSensor, SkipDownstreamMixin):
    """Wait for the job of `preprocess`, and collect its shards; a retry finds the job ended and collects them again.

    The finished job is the XCom `job`, its counts are `shard_stats`. The return value are the groups of shards, which
    `join` is mapped over: Airflow maps over return values only.
    """

    def on_completed(self, context: Context, job: Job) -> Any:
        """The groups of shards, see `collect_shards`."""
        collect_shards = import_on_call("batch_inference.dag.tasks.collect_shards:collect_shards")
        ti: Any = context["ti"]
        ti.xcom_push(key=PREPROCESS_JOB[1], value=super().on_completed(context, job))
        return self.skip_if_requested(context, collect_shards(self.pipeline, ti=ti, shape=self.shape))


class PlannedTransformJobSensor(PlannedJobMixin, TransformJobSensor):
    """Wait for the transform job that was planned."""


def add_job(
    pipeline: Pipeline,
    stage: str,
    task_id: str,
    wait_task_id: str,
    values: Mapping[str, Any],
    *,
    operator_class: Any = None,
    sensor_class: Any = None,
    instance_types: str | None = None,
    is_mapped: bool = False,
    continuation: Any = None,
    **operator_args: Any,
) -> tuple[Any, Any]:
    """Add the task that submits the job of a stage, and the one that waits for it; return both.

    :param values: see ``PlannedJobMixin``; the instance count is the planned one by default.
    :param operator_class: class of the submitting task, by default the one for the stage.
    :param sensor_class: the same of the waiting task.
    :param instance_types: template of the types to try, by default the planned ones.
    :param is_mapped: whether there is a pair of tasks for each mapped job.
    """
    planned = "join.job" if stage == "join" else stage
    kind, operator, sensor = (
        (TRANSFORM, PlannedTransformJobOperator, PlannedTransformJobSensor)
        if stage == "transform"
        else (PROCESSING, PlannedProcessingJobOperator, PlannedProcessingJobSensor)
    )
    job_args: dict[str, Any] = {
        "pipeline": pipeline,
        "capacity_wait_seconds": pipeline.goals.capacity_wait_minutes * 60,
        **({} if continuation is None else {"continuation": continuation}),
    }
    submit_task = (operator_class or operator)(
        task_id=task_id,
        stage=stage,
        values={"instance_count": template_plan_value(f"{planned}.instance_count"), **values},
        instance_types=instance_types or template_plan_value(f"{planned}.instance_types | join(' ')"),
        **job_args,
        **build_pool_args(pipeline, waits=False),
        **operator_args,
    )
    wait_task = (sensor_class or sensor)(
        task_id=wait_task_id,
        job_name=template_submitted_job_name(task_id, kind, is_mapped=is_mapped),
        spec=XComArg(submit_task, key="spec"),
        write_listing=stage != "join",
        max_runtime_seconds=template_plan_value(f"{planned}.max_runtime_seconds"),
        **job_args,
        **build_pool_args(pipeline, waits=True),
    )
    return submit_task, wait_task


def build_pool_args(pipeline: Pipeline, *, waits: bool) -> dict[str, Any]:
    """Arguments of a task that submits a job of this pipeline, or `waits` for one."""
    if pipeline.pool is None:
        return {}
    # Airflow's default rule adds the weights of all downstream tasks, so a submitting task would come first.
    weight = 10 if waits else 1
    return {"pool": pipeline.pool.name, "priority_weight": weight, "weight_rule": "absolute"}
