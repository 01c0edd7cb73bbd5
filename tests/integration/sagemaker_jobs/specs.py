"""Specs as operators make them from a rendered request."""

from __future__ import annotations

from typing import Any

from sagemaker_jobs.job.spec import JobSpec
from sagemaker_jobs.kinds import PROCESSING, TRANSFORM
from tests.integration.sagemaker_jobs.builders import processing_config, transform_config


def processing_spec(**changes: Any) -> JobSpec:
    config = processing_config()
    config["ProcessingResources"]["ClusterConfig"] |= {"InstanceCount": 2, "VolumeSizeInGB": 30}
    config["StoppingCondition"]["MaxRuntimeInSeconds"] = 3600
    return JobSpec(kind=PROCESSING, base_name="work-0123", request=config, **changes)


def transform_spec(**changes: Any) -> JobSpec:
    config = transform_config()
    config["Transform"] |= {"MaxConcurrentTransforms": 4, "MaxPayloadInMB": 5}
    config["Transform"]["ModelClientConfig"] = {
        "InvocationsTimeoutInSeconds": 600,
        "InvocationsMaxRetries": 1,
    }
    config["Transform"]["TransformResources"]["InstanceCount"] = 2
    return JobSpec(
        kind=TRANSFORM, base_name="score-0123", request=config["Transform"], model=config["Model"], **changes
    )
