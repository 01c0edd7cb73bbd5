"""Which objects a transform's containers refused, and with what answer: as the service's own log says.

Beside each container's log stream there is one that ends in ``/data-log``. For every object that was lost it
holds lines of the form ``<time>:[sagemaker logs]: <bucket>/<key>: <text>``: first what happened ("ClientError:
400", "Bad HTTP status received from algorithm: 500", "Unable to get response from algorithm"), then
"Message:" and the body of the answer. Such lines are the only sign that an object was tried: one without them
may not have been reached before the job ended.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.logs import AwsLogsHook
from botocore.exceptions import ClientError

from sagemaker_jobs.aws import call, client_of, error_code, sibling

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

    from sagemaker_jobs.jobs import Job

MOST_LINES = 200  # of one answer: a long traceback, not a page of HTML
_LINE = re.compile(r"(?:\S+:)?\[sagemaker logs\]: ?(.*)", re.DOTALL)
_NOTHING = frozenset({"", "Message:"})


def refused(hook: SageMakerHook, job: Job, folder: str) -> dict[str, list[str]]:
    """The lines said about each object below ``folder``, by its name relative to that; {} if nothing is known.

    ``folder`` is an S3 URI that ends in ``/``. Raises what CloudWatch Logs answers, but for a job that has
    logged nothing.
    """
    head = folder.removeprefix("s3://")
    found: dict[str, list[str]] = {}
    for message in _data_log(hook, job):
        line = _LINE.match(message)
        if line is None or not line[1].startswith(head):
            continue
        name, colon, text = line[1][len(head) :].partition(": ")
        said = found.setdefault(name if colon else name.rstrip(": "), [])
        if text.strip() not in _NOTHING and len(said) < MOST_LINES:
            said.append(text.rstrip())
    return found


def _data_log(hook: SageMakerHook, job: Job) -> Iterator[str]:
    client = client_of(sibling(AwsLogsHook, hook))
    for name in _streams(client, job):
        wanted: dict[str, Any] = {
            "logGroupName": job.kind.log_group,
            "logStreamName": name,
            "startFromHead": True,
        }
        while True:
            page = call(client.get_log_events, wanted)
            yield from (str(event["message"]) for event in page.get("events", []))
            # The end of a stream answers with the token that it was asked with.
            if page.get("nextForwardToken") in (None, wanted.get("nextToken")):
                break
            wanted["nextToken"] = page["nextForwardToken"]


def _streams(client: Any, job: Job) -> Iterator[str]:
    wanted = {"logGroupName": job.kind.log_group, "logStreamNamePrefix": f"{job.name}/"}
    while True:
        try:
            page = call(client.describe_log_streams, wanted)
        except ClientError as error:
            if error_code(error) == "ResourceNotFoundException":
                return
            raise
        yield from (
            stream["logStreamName"]
            for stream in page.get("logStreams", [])
            if stream["logStreamName"].endswith("/data-log")
        )
        if not page.get("nextToken"):
            return
        wanted["nextToken"] = page["nextToken"]
