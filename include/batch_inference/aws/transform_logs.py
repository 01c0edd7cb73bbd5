"""Measures how long a transform job's instances were busy, from the access logs of its containers.

SageMaker bills every instance from the job's start to its end. `preprocess` measures itself. Model servers log each
request, so the time between an instance's first and last request counts as busy, and the rest of the billed time as
idle: start-up, and waiting for the slowest instance.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from airflow.providers.amazon.aws.hooks.logs import AwsLogsHook

from batch_inference.aws.optional_calls import CALL_ERRORS, SHORT_TIMEOUTS
from sagemaker_jobs.aws import get_client
from sagemaker_jobs.kinds import KINDS

log = logging.getLogger(__name__)

#: The text of an inference request in a server's access log.
REQUEST_MARKER = '"POST /invocations'
#: Lines read from each end of a log, to find the first and the last request.
MAX_LINES = 200


def read_instance_activity(
    aws_conn_id: str | None, region: str | None, job: Mapping[str, Any]
) -> dict[str, Any]:
    """The activity of a transform job's instances: `busy_seconds`, summed, and `instances`, with the busy time of each.

    Both are None when its logs cannot be read or have no requests.
    """
    client = get_client(AwsLogsHook(aws_conn_id=aws_conn_id, region_name=region, config=SHORT_TIMEOUTS))
    spans: dict[str, tuple[float, float]] = {}
    try:
        for instance, (first, last) in read_busy_spans(client, KINDS[job["kind"]].log_group, job["job_name"]):
            known = spans.get(instance, (first, last))
            spans[instance] = (min(first, known[0]), max(last, known[1]))
    except CALL_ERRORS as error:
        log.warning("Cannot read logs of %s; busy time unknown: %s", job["job_name"], error)
        spans = {}
    if not spans:
        return {"busy_seconds": None, "instances": None}
    instances = [
        {"instance": name, "from": first, "to": last} for name, (first, last) in sorted(spans.items())
    ]
    busy_seconds = round(sum(last - first for first, last in spans.values()), 3)
    return {"busy_seconds": busy_seconds, "instances": instances}


def read_busy_spans(client: Any, group: str, job_name: str) -> Iterator[tuple[str, tuple[float, float]]]:
    """For each container's log with requests: its instance, and the start and end of its work, in epoch seconds.

    Streams are named `<job>/<instance>` and `<job>/<instance>/<container>`; `…/data-log` is SageMaker's own. Only both
    ends of a stream are read, however long it is.
    """
    streams = client.get_paginator("describe_log_streams")
    pages = streams.paginate(logGroupName=group, logStreamNamePrefix=f"{job_name}/")
    for name in pages.search("logStreams[].logStreamName"):
        if name.endswith("/data-log"):
            continue
        where = {"logGroupName": group, "logStreamName": name, "limit": MAX_LINES}
        head, tail = (
            client.get_log_events(**where, startFromHead=first)["events"] for first in (True, False)
        )
        if span := find_busy_span(head, tail):
            yield name.split("/")[1], span


def find_busy_span(
    head: Sequence[Mapping[str, Any]], tail: Sequence[Mapping[str, Any]]
) -> tuple[float, float] | None:
    """Start and end of the work in one log, from its first and last lines; None when they have no request.

    A server logs a request when it has answered it, so the work started at the line before the first request.
    """
    requests = [number for number, event in enumerate(head) if REQUEST_MARKER in event["message"]]
    ends = [event["timestamp"] for event in tail if REQUEST_MARKER in event["message"]]
    if not requests or not ends:
        return None
    return head[max(0, requests[0] - 1)]["timestamp"] / 1000, max(ends) / 1000
