"""DescribeTransformJob."""

from __future__ import annotations

from typing import Any

from include.local_aws.api import catalogue
from include.local_aws.api.call import Call
from include.local_aws.api.job_operations import describe_job
from include.local_aws.api.kinds import TRANSFORM

# Defaults that AWS fills in, as in recorded responses; other members stay absent.
DATA_PROCESSING_DEFAULTS = {"InputFilter": "$", "OutputFilter": "$", "JoinSource": "None"}
TRANSFORM_INPUT_DEFAULTS = {"CompressionType": "None", "SplitType": "None"}
TRANSFORM_OUTPUT_DEFAULTS = {"AssembleWith": "None", "KmsKeyId": ""}


def describe_transform_job(call: Call) -> dict[str, Any]:
    """The request with AWS's defaults, state and times."""
    missing = catalogue.missing_transform_job(call.request["TransformJobName"])
    job, answer = describe_job(call, TRANSFORM, missing)
    return {
        **answer,
        "TransformInput": {**TRANSFORM_INPUT_DEFAULTS, **job.request["TransformInput"]},
        "TransformOutput": {**TRANSFORM_OUTPUT_DEFAULTS, **job.request["TransformOutput"]},
        "DataProcessing": {**DATA_PROCESSING_DEFAULTS, **job.request.get("DataProcessing", {})},
    }
