"""What a job's instances really did, from what is kept of every job: its manifests, or its containers' logs.

SageMaker bills every instance from the job's start to its end. `preprocess` measures itself. Model servers log each
request, so for a transform what lies between an instance's first and last request is taken as busy, and the rest of the
billed time as idle: start-up, and waiting for the slowest instance.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from airflow.providers.amazon.aws.hooks.logs import AwsLogsHook

from include.orchestration.optional_calls import IMPATIENT, NO_ANSWER
from sagemaker_jobs.aws import client_of
from sagemaker_jobs.kinds import KINDS

log = logging.getLogger(__name__)

#: How servers write a request for inference into their access log.
REQUEST = '"POST /invocations'
#: Lines read from either end of a log, to find the first and the last request among other lines.
LINES_READ = 200


def work_of(aws_conn_id: str | None, region: str | None, job: Mapping[str, Any]) -> dict[str, Any]:
    """What the instances of a transform job did: `busy_seconds`, summed, and `instances`, when each of them worked.

    Both are None when its logs cannot be read or show no requests.
    """
    client = client_of(AwsLogsHook(aws_conn_id=aws_conn_id, region_name=region, config=IMPATIENT))
    spans: dict[str, tuple[float, float]] = {}
    try:
        for instance, (first, last) in busy_spans(client, KINDS[job["kind"]].log_group, job["job_name"]):
            known = spans.get(instance, (first, last))
            spans[instance] = (min(first, known[0]), max(last, known[1]))
    except NO_ANSWER as error:
        log.warning("how busy %s was is unknown, its logs cannot be read: %s", job["job_name"], error)
        spans = {}
    if not spans:
        return {"busy_seconds": None, "instances": None}
    return {
        "busy_seconds": round(sum(last - first for first, last in spans.values()), 3),
        "instances": [
            {"instance": instance, "from": first, "to": last}
            for instance, (first, last) in sorted(spans.items())
        ],
    }


def busy_spans(client: Any, group: str, job_name: str) -> Iterator[tuple[str, tuple[float, float]]]:
    """For each container's log with requests: its instance, and when its work began and ended, in epoch seconds.

    Streams are named `<job>/<instance>` and `<job>/<instance>/<container>`; `…/data-log` is SageMaker's own. Only both
    ends of a stream are read, however long it is.
    """
    pages = client.get_paginator("describe_log_streams").paginate(
        logGroupName=group, logStreamNamePrefix=f"{job_name}/"
    )
    for name in (stream["logStreamName"] for page in pages for stream in page["logStreams"]):
        if name.endswith("/data-log"):
            continue
        head, tail = (
            client.get_log_events(
                logGroupName=group, logStreamName=name, limit=LINES_READ, startFromHead=from_head
            )["events"]
            for from_head in (True, False)
        )
        if span := span_of(head, tail):
            yield name.split("/")[1], span


def span_of(
    head: Sequence[Mapping[str, Any]], tail: Sequence[Mapping[str, Any]]
) -> tuple[float, float] | None:
    """Begin and end of the work in one log, from its first and its last lines; None when they show no request.

    A server logs a request when it has answered it, so the first one began at the line before.
    """
    requests = [number for number, event in enumerate(head) if REQUEST in event["message"]]
    ends = [event["timestamp"] for event in tail if REQUEST in event["message"]]
    if not requests or not ends:
        return None
    return head[max(0, requests[0] - 1)]["timestamp"] / 1000, max(ends) / 1000
