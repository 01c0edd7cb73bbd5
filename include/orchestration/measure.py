"""What a transform job's instances really did, from what AWS keeps of every job: its containers' logs.

SageMaker bills every instance from the job's start to its end. Model servers log each request, so what lies between an
instance's first and last line is taken as busy, the rest of the billed time as idle: start-up, and waiting for the
slowest instance.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from airflow.providers.amazon.aws.hooks.logs import AwsLogsHook
from botocore.exceptions import ClientError

from sagemaker_jobs.kinds import KINDS

log = logging.getLogger(__name__)


def busy_seconds(aws_conn_id: str | None, job: Mapping[str, Any]) -> float | None:
    """Seconds in which the job's instances worked, summed over instances; None when its logs cannot be read."""
    client: Any = AwsLogsHook(aws_conn_id=aws_conn_id).get_conn()
    group, name = KINDS[job["kind"]].log_group, job["job_name"]
    spans: dict[str, tuple[float, float]] = {}
    try:
        pages = client.get_paginator("describe_log_streams").paginate(
            logGroupName=group, logStreamNamePrefix=f"{name}/"
        )
        for stream in (each for page in pages for each in page["logStreams"]):
            # `<job>/<instance>` holds a container's own lines, `<job>/<instance>/data-log` SageMaker's.
            instance = stream["logStreamName"].split("/")[1]
            if stream["logStreamName"].endswith("/data-log") or "firstEventTimestamp" not in stream:
                continue
            first, last = span(client, group, stream)
            before = spans.get(instance, (first, last))
            spans[instance] = (min(first, before[0]), max(last, before[1]))
    except ClientError as error:
        log.warning("busy time of %s is unknown, its logs cannot be read: %s", name, error)
        return None
    return sum(last - first for first, last in spans.values()) if spans else None


def span(client: Any, group: str, stream: Mapping[str, Any]) -> tuple[float, float]:
    """First and last moment of a log stream, in epoch seconds; the last line is read, as listings lag."""
    newest = client.get_log_events(
        logGroupName=group, logStreamName=stream["logStreamName"], limit=1, startFromHead=False
    )["events"]
    last = (
        newest[-1]["timestamp"] if newest else stream.get("lastEventTimestamp", stream["firstEventTimestamp"])
    )
    return stream["firstEventTimestamp"] / 1000, last / 1000
