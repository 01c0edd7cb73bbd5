"""Operators and sensors that use the pipeline as it was planned, also when its file was edited since."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow.sdk.bases.operator import BaseOperatorMeta

from batch_inference.config.pipeline import Pipeline
from batch_inference.dag.task_functions import no_retry
from batch_inference.run.run_context import RunContext
from sagemaker_jobs.operators import ProcessingJobOperator, TransformJobOperator
from sagemaker_jobs.sensors import ProcessingJobSensor, TransformJobSensor

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context

ConfigBuilder = Callable[[Pipeline], dict[str, Any]]


class PlannedJobMixin(metaclass=BaseOperatorMeta):
    """Mixin: when the task runs, its connection, and an operator's request, come from the pipeline as it was planned.

    Until then Airflow shows those of the parsed file.

    :param pipeline: the pipeline of the file.
    :param build: builds an operator's ``config`` from a pipeline; the numbers in it are templates.
    """

    config: dict[str, Any]
    aws_conn_id: str | None
    region_name: str | None

    def __init__(self, *, pipeline: Pipeline, build: ConfigBuilder | None = None, **kwargs: Any) -> None:
        config = {} if build is None else {"config": build(pipeline)}
        where = {"aws_conn_id": pipeline.aws_conn_id, "region_name": pipeline.region}
        super().__init__(**config, **where, **kwargs)
        self.shape = pipeline.dag_shape
        self.build = build

    def render_template_fields(self, context: Context, jinja_env: jinja2.Environment | None = None) -> None:
        """Read the planned pipeline, and render the templates of its request."""
        planned = no_retry(RunContext.load)(context["ti"], shape=self.shape).pipeline
        self.aws_conn_id, self.region_name = planned.aws_conn_id, planned.region
        if self.build is not None:
            self.config = self.build(planned)
        super().render_template_fields(context, jinja_env)  # type: ignore[misc]  # BaseOperator's


class PlannedProcessingJobOperator(PlannedJobMixin, ProcessingJobOperator):
    """Submit the processing job that was planned."""


class PlannedTransformJobOperator(PlannedJobMixin, TransformJobOperator):
    """Submit the transform job that was planned."""


class PlannedProcessingJobSensor(PlannedJobMixin, ProcessingJobSensor):
    """Wait for the processing job that was planned."""


class PlannedTransformJobSensor(PlannedJobMixin, TransformJobSensor):
    """Wait for the transform job that was planned."""
