"""Operators and sensors of jobs that are those of the plan, whatever became of the pipeline's file since."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow.sdk.bases.operator import BaseOperatorMeta

from include.orchestration.refusals import final
from include.orchestration.run_context import RunContext
from include.scoring.config import Pipeline
from sagemaker_jobs.operators import ProcessingJobOperator, TransformJobOperator
from sagemaker_jobs.sensors import ProcessingJobSensor, TransformJobSensor

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context

Build = Callable[[Pipeline], dict[str, Any]]


class PlannedJob(metaclass=BaseOperatorMeta):
    """Mixin: when the task runs, its connection, and an operator's request, come from the pipeline as it was planned.

    What the file says when it is parsed is what Airflow shows before.

    :param pipeline: the pipeline of the file.
    :param build: makes an operator's ``config`` of a pipeline; the numbers in it are templates.
    """

    config: dict[str, Any]
    aws_conn_id: str | None
    region_name: str | None

    def __init__(self, *, pipeline: Pipeline, build: Build | None = None, **kwargs: Any) -> None:
        config = {} if build is None else {"config": build(pipeline)}
        where = {"aws_conn_id": pipeline.aws_conn_id, "region_name": pipeline.region}
        super().__init__(**config, **where, **kwargs)
        self.shape = pipeline.shape
        self.build = build

    def render_template_fields(self, context: Context, jinja_env: jinja2.Environment | None = None) -> None:
        """Take what was planned, and fill its templates."""
        planned = final(RunContext.load)(context["ti"], shape=self.shape).pipeline
        self.aws_conn_id, self.region_name = planned.aws_conn_id, planned.region
        if self.build is not None:
            self.config = self.build(planned)
        super().render_template_fields(context, jinja_env)  # type: ignore[misc]  # BaseOperator's


class PlannedProcessingJob(PlannedJob, ProcessingJobOperator):
    """Submit the processing job that was planned."""


class PlannedTransformJob(PlannedJob, TransformJobOperator):
    """Submit the transform job that was planned."""


class PlannedProcessingWait(PlannedJob, ProcessingJobSensor):
    """Wait for it."""


class PlannedTransformWait(PlannedJob, TransformJobSensor):
    """Wait for it."""
