"""Reads from the service's data log which objects a transform's containers rejected, and with what response.

Next to each container's log stream there is one that ends in ``/data-log``. For every object that failed it has lines
of the form ``<time>:[sagemaker logs]: <bucket>/<key>: <text>``: first the error ("ClientError: 400", "Bad HTTP status
received from algorithm: 500", "Unable to get response from algorithm"), then "Message:" and the response body. Only
these lines show that an object was tried: one without them may not have been reached before the job ended.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airflow.providers.amazon.aws.hooks.logs import AwsLogsHook
from botocore.exceptions import ClientError

from sagemaker_jobs.aws import get_error_code, get_sibling_client, list_pages
from sagemaker_jobs.failure.logs import list_log_streams

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

    from sagemaker_jobs.job.describe import Job

MAX_LINES = 200  # of one response: a long traceback, not a page of HTML
_LINE = re.compile(r"(?:\S+:)?\[sagemaker logs\]: ?(.*)", re.DOTALL)
_EMPTY_LINES = frozenset({"", "Message:"})


def read_rejected_objects(hook: SageMakerHook, job: Job, folder_uri: str) -> dict[str, list[str]]:
    """The log lines of each rejected object, by its name relative to ``folder_uri``; {} if the job logged nothing.

    ``folder_uri`` ends in ``/``. Raises the errors of CloudWatch Logs, except for a log that does not exist.
    """
    key_prefix = folder_uri.removeprefix("s3://")
    found: dict[str, list[str]] = {}
    for message in _read_data_log(hook, job):
        line = _LINE.match(message)
        if line is None or not line[1].startswith(key_prefix):
            continue
        name, colon, text = line[1][len(key_prefix) :].partition(": ")
        lines = found.setdefault(name if colon else name.rstrip(": "), [])
        if text.strip() not in _EMPTY_LINES and len(lines) < MAX_LINES:
            lines.append(text.rstrip())
    return found


def _read_data_log(hook: SageMakerHook, job: Job) -> Iterator[str]:
    client = get_sibling_client(AwsLogsHook, hook)
    try:
        streams = list(list_log_streams(client, job.kind, job.name))
    except ClientError as error:
        if get_error_code(error) == "ResourceNotFoundException":
            return
        raise
    for name in (stream for stream in streams if stream.endswith("/data-log")):
        request = {"logGroupName": job.kind.log_group, "logStreamName": name, "startFromHead": True}
        for page in list_pages(client.get_log_events, request, "nextToken", "nextForwardToken"):
            yield from (str(event["message"]) for event in page.get("events", []))
