"""Reads the most memory that a transform job's instances had, from CloudWatch's metric MemoryUtilization."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook

from batch_inference.aws.optional_calls import CALL_ERRORS, SHORT_TIMEOUTS
from sagemaker_jobs.aws import get_client
from sagemaker_jobs.kinds import KINDS

log = logging.getLogger(__name__)

#: SageMaker publishes a value each minute; GetMetricData takes so many queries.
PERIOD_SECONDS = 60
MAX_QUERIES = 500
_INSTANCE_ID = re.compile(r"i-[0-9a-f]+|.+")


def read_peak_memory_share(
    aws_conn_id: str | None, region: str | None, job: Mapping[str, Any]
) -> float | None:
    """The largest share of an instance's memory that the containers of a finished job had, 0 to 1.

    `job` is a sensor's XCom with the `instances` of its logs, which name the metric's hosts. None when these are not
    known, or CloudWatch has no values or cannot be asked.
    """
    if not job.get("instances") or job.get("started_at") is None or job.get("ended_at") is None:
        return None
    # Log streams have a suffix after the instance, such as i-0123456789abcdef0-1700000000000.
    hosts = [_INSTANCE_ID.findall(each["instance"])[0] for each in job["instances"]]
    queries = [
        {
            "Id": f"m{number}",
            "MetricStat": {
                "Metric": {
                    "Namespace": KINDS[job["kind"]].log_group,
                    "MetricName": "MemoryUtilization",
                    "Dimensions": [{"Name": "Host", "Value": f"{job['job_name']}/{host}"}],
                },
                "Period": PERIOD_SECONDS,
                "Stat": "Maximum",
            },
        }
        for number, host in enumerate(hosts[:MAX_QUERIES])
    ]
    hook = AwsBaseHook(
        aws_conn_id=aws_conn_id, region_name=region, client_type="cloudwatch", config=SHORT_TIMEOUTS
    )
    begin, end = (
        datetime.fromtimestamp(job[key] // PERIOD_SECONDS * PERIOD_SECONDS + shift, UTC)
        for key, shift in (("started_at", 0), ("ended_at", 2 * PERIOD_SECONDS))
    )
    try:
        pages = list(
            get_client(hook)
            .get_paginator("get_metric_data")
            .paginate(MetricDataQueries=queries, StartTime=begin, EndTime=end)
        )
    except CALL_ERRORS as error:
        log.warning("Cannot read the memory of %s; it is not kept: %s", job["job_name"], error)
        return None
    values = [value for page in pages for result in page["MetricDataResults"] for value in result["Values"]]
    return round(max(values) / 100, 4) if values else None
