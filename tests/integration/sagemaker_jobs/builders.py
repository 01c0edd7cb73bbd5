"""Requests as a DAG's templates render them, and a task instance to run tasks with."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from sagemaker_jobs.cleanup.run_cleanup import clean_up_run

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook


class TaskInstance(SimpleNamespace):
    """As much of a running task instance as operators ask for; XComs live in ``xcoms``."""

    def xcom_push(self, key: str, value: Any) -> None:
        json.dumps(value)
        self.xcoms[key] = value

    def xcom_pull(self, task_ids: str, key: str, map_indexes: int) -> Any:
        assert (task_ids, map_indexes) == (self.task_id, self.map_index)
        return self.xcoms.get(key)

    def get_task_states(
        self, dag_id: str, map_index: int | None, task_ids: list[str], run_ids: list[str]
    ) -> dict[str, dict[str, str | None]]:
        """What Airflow's Execution API answers; ``now`` is the task's state, or an error."""
        if isinstance(self.now, Exception):
            raise self.now
        assert (dag_id, map_index, task_ids, run_ids) == (self.dag_id, None, [self.task_id], [self.run_id])
        return {} if self.now == "gone" else {self.run_id: {self.task_id: self.now}}


def context_of(
    task: Any,
    *,
    try_number: int = 1,
    max_tries: int | None = None,
    xcoms: Any = None,
    now: str | Exception | None = "failed",
) -> dict[str, Any]:
    """A context for ``task``; ``max_tries`` is its retries unless a clear has raised it.

    ``now`` is its state in Airflow when it is killed, "gone" of one that is deleted.
    """
    ti = TaskInstance(
        dag_id="a-dag",
        run_id="a-run",
        now=now,
        task=task,
        task_id=task.task_id,
        map_index=-1,
        try_number=try_number,
        max_tries=task.retries if max_tries is None else max_tries,
        xcoms={} if xcoms is None else xcoms,
    )
    return {"ti": ti, "task_instance": ti}


def processing_config(name: str = "abalone-preprocess-0123456789", **changes: Any) -> dict[str, Any]:
    """A processing request as a DAG's template renders it: numbers are text."""
    return {
        "ProcessingJobName": name,
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": "2", "InstanceType": "ml.m5.large", "VolumeSizeInGB": "30"}
        },
        "AppSpecification": {"ImageUri": "123456789012.dkr.ecr.us-east-1.amazonaws.com/work:1"},
        "StoppingCondition": {"MaxRuntimeInSeconds": "3600"},
        "RoleArn": "arn:aws:iam::123456789012:role/work",
        "Environment": {"WORKERS": "8"},
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": "output",
                    "S3Output": {
                        "S3Uri": "s3://bucket/run/{job_name}/",
                        "LocalPath": "/opt/ml/processing/output",
                        "S3UploadMode": "EndOfJob",
                    },
                }
            ]
        },
        **changes,
    }


def transform_config(name: str = "abalone-transform-0123456789", **changes: Any) -> dict[str, Any]:
    """A model and a transform request as a DAG's template renders them."""
    return {
        "Model": {
            "ModelName": name,
            "PrimaryContainer": {"Image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/model:1"},
            "ExecutionRoleArn": "arn:aws:iam::123456789012:role/work",
        },
        "Transform": {
            "TransformJobName": name,
            "ModelName": name,
            "MaxConcurrentTransforms": "4",
            "MaxPayloadInMB": "5",
            "ModelClientConfig": {"InvocationsTimeoutInSeconds": "600", "InvocationsMaxRetries": "1"},
            "TransformInput": {
                "DataSource": {
                    "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/run/features/"}
                },
                "ContentType": "text/csv",
                "SplitType": "Line",
            },
            "TransformOutput": {"S3OutputPath": "s3://bucket/run/{job_name}/predictions/"},
            "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": "2"},
            **changes,
        },
    }


def clean_up(hook: SageMakerHook, name_prefix: str) -> list[str]:
    """Stop the running jobs and delete the models whose names begin so."""
    return clean_up_run(hook, name_prefix=name_prefix, tags={}, because="of the test")
