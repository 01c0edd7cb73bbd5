"""DescribeTransformJob."""

from __future__ import annotations

from typing import Any

from include.local_aws.api import catalogue
from include.local_aws.api.call import Call
from include.local_aws.api.job_operations import describe_job
from include.local_aws.api.kinds import TRANSFORM

# What AWS fills in when it was not sent, as recorded answers show; other members stay absent.
DATA_PROCESSING = {"InputFilter": "$", "OutputFilter": "$", "JoinSource": "None"}
INPUT = {"CompressionType": "None", "SplitType": "None"}
OUTPUT = {"AssembleWith": "None", "KmsKeyId": ""}


def describe_transform_job(call: Call) -> dict[str, Any]:
    """The request with AWS's fill-ins, state and times."""
    missing = catalogue.missing_transform_job(call.request["TransformJobName"])
    job, answer = describe_job(call, TRANSFORM, missing)
    return {
        **answer,
        "TransformInput": {**INPUT, **job.request["TransformInput"]},
        "TransformOutput": {**OUTPUT, **job.request["TransformOutput"]},
        "DataProcessing": {**DATA_PROCESSING, **job.request.get("DataProcessing", {})},
    }
