"""Operators and sensors take the provider's arguments and their own wherever Airflow lets arguments be given."""

from __future__ import annotations

import inspect
from datetime import datetime
from typing import Any

import pytest
from airflow.providers.amazon.aws.operators.sagemaker import (
    SageMakerProcessingOperator,
    SageMakerTransformOperator,
)
from airflow.providers.amazon.aws.sensors.sagemaker import SageMakerProcessingSensor, SageMakerTransformSensor
from airflow.sdk import DAG
from airflow.sdk.bases.operator import BaseOperator
from airflow.sdk.definitions.mappedoperator import MappedOperator

from sagemaker_jobs.errors import RequestError
from sagemaker_jobs.operators import ProcessingJobOperator, TransformJobOperator
from sagemaker_jobs.sensors import ProcessingJobSensor, TransformJobSensor
from tests.integration.sagemaker_jobs.builders import processing_config, transform_config

PAIRS = [
    (ProcessingJobOperator, SageMakerProcessingOperator, {"config": processing_config()}),
    (TransformJobOperator, SageMakerTransformOperator, {"config": transform_config()}),
    (ProcessingJobSensor, SageMakerProcessingSensor, {"job_name": "work"}),
    (TransformJobSensor, SageMakerTransformSensor, {"job_name": "work"}),
]
OPERATORS, SENSORS = PAIRS[:2], PAIRS[2:]


def arguments_of(operator: type[BaseOperator]) -> dict[str, Any]:
    """Every argument with a default that some constructor of the class names, but Airflow's own for all operators."""
    found: dict[str, Any] = {}
    for each in operator.mro():
        if each is BaseOperator:
            return found
        if "__init__" in vars(each):
            parameters = inspect.signature(vars(each)["__init__"]).parameters.values()
            found |= {
                p.name: p.default for p in parameters if p.default is not p.empty and p.name not in found
            }
    return found


@pytest.mark.parametrize(("ours", "theirs", "needed"), PAIRS)
def test_every_argument_of_the_provider_is_taken(ours: Any, theirs: Any, needed: dict[str, Any]):
    """With the provider's default, unless the docs name another; so a class can be exchanged by its import."""
    assert issubclass(ours, theirs)
    stock = arguments_of(theirs)
    changed = {
        "wait_for_completion": True,
        "action_if_job_exists": "timestamp",
        "action_if_model_exists": "timestamp",
    }
    assert {name: default for name, default in stock.items() if arguments_of(ours)[name] != default} == {
        **{name: default for name, default in changed.items() if name in stock},
        **({"deferrable": False} if "deferrable" in stock else {}),
    }
    ours(task_id="with_all", **needed, **stock)


@pytest.mark.parametrize(("ours", "theirs", "needed"), PAIRS)
def test_default_args_of_a_dag_reach_them(ours: Any, theirs: Any, needed: dict[str, Any]):
    """The provider's arguments and those of this package alike."""
    own = {"first_poll_seconds": 7, "capacity_wait_seconds": 60, "max_runtime_seconds": 900, "retries": 5}
    more = {"max_job_attempts": 9} if "config" in needed else {"poke_interval": 11.0}
    with DAG(
        "defaults", start_date=datetime(2026, 1, 1), default_args={**own, **more, "region_name": "eu-west-1"}
    ):
        task = ours(task_id="task", **needed)
    for name, value in {**own, **more, "region_name": "eu-west-1"}.items():
        assert getattr(task, name) == value, name


@pytest.mark.parametrize(("ours", "theirs", "needed"), PAIRS)
def test_they_can_be_mapped(ours: Any, theirs: Any, needed: dict[str, Any]):
    """partial() knows the arguments, and refuses those that there are not."""
    name, value = next(iter(needed.items()))
    with DAG("mapped", start_date=datetime(2026, 1, 1)):
        task = ours.partial(task_id="task", first_poll_seconds=7).expand(**{name: [value, value]})
        assert isinstance(task, MappedOperator)
        assert task.partial_kwargs["first_poll_seconds"] == 7
        with pytest.raises(TypeError, match="frst_poll_seconds"):
            ours.partial(task_id="wrong", frst_poll_seconds=7)
    with pytest.raises(TypeError, match=f"missing keyword argument '{name}'"):
        ours(task_id="nothing")
    with pytest.raises(TypeError, match="frst_poll_seconds"):
        ours(task_id="wrong", frst_poll_seconds=7, **needed)


def test_an_xcom_as_an_argument_is_a_dependency():
    """`spec=transform.output["spec"]` is all that is written between the two tasks."""
    with DAG("arrow", start_date=datetime(2026, 1, 1)):
        transform = TransformJobOperator(task_id="transform", config=transform_config())
        await_transform = TransformJobSensor(
            task_id="await_transform", job_name="x", spec=transform.output["spec"]
        )
    assert await_transform.upstream_task_ids == {"transform"}


def test_only_a_transform_resumes():
    """A processing job has no objects that are done one by one."""
    with pytest.raises(RequestError, match="allowed for a transform only"):
        ProcessingJobOperator(task_id="p", config=processing_config(), resume=True)
    assert TransformJobOperator(task_id="t", config=transform_config(), resume=True).resume is True


@pytest.mark.parametrize("argument", ["action_if_job_exists", "action_if_model_exists"])
def test_a_choice_that_there_is_not_is_named(argument: str):
    """At parse time, with what is allowed."""
    with pytest.raises(
        RequestError, match=f"{argument} is 'reuse'; allowed are 'adopt', 'timestamp', 'fail'"
    ):
        TransformJobOperator(task_id="t", config=transform_config(), **{argument: "reuse"})
