"""Reads what a job's containers wrote last to CloudWatch Logs."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.logs import AwsLogsHook
from botocore.exceptions import BotoCoreError, ClientError

from sagemaker_jobs.aws import (
    CALL_RETRY_SECONDS,
    call_with_retries,
    get_error_code,
    get_sibling_client,
    list_pages,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

    from sagemaker_jobs.kinds import JobKind

TAIL_LINES = 50
MAX_SHOWN_STREAMS = 20  # of a hundred instances that fail alike, twenty are enough
MAX_READ_STREAMS = 100
_PATIENCE_SECONDS = 20.0


def tail_logs(
    hook: SageMakerHook, kind: JobKind, job_name: str, *, lines: int = TAIL_LINES
) -> dict[str, list[str]]:
    """The last ``lines`` lines of each of the job's log streams, by stream name, in order of name.

    Of more than ``MAX_SHOWN_STREAMS`` streams, those with different last lines come first, and an entry lists the
    streams that are not shown. {} if the job logged nothing. Without permission to read logs, one entry says so: a
    missing permission must not hide why the job failed.
    """
    client = get_sibling_client(AwsLogsHook, hook)
    tails: dict[str, list[str]] = {}
    try:
        every_stream = list_log_streams(client, kind, job_name, retry_seconds=_PATIENCE_SECONDS)
        streams = sorted(itertools.islice(every_stream, MAX_READ_STREAMS + 1))
        for stream in streams[:MAX_READ_STREAMS]:
            where = {"logGroupName": kind.log_group, "logStreamName": stream}
            wanted = {**where, "limit": lines, "startFromHead": False}
            events = call_with_retries(client.get_log_events, wanted, retry_seconds=_PATIENCE_SECONDS)
            tails[stream] = [event["message"].rstrip("\n") for event in events.get("events", [])][-lines:]
    except ClientError as error:
        if get_error_code(error) != "ResourceNotFoundException":
            tails["(logs)"] = [f"could not be read from {kind.log_group}: {error}"]
    except (BotoCoreError, OSError) as error:
        tails["(logs)"] = [f"could not be read from {kind.log_group}: {error}"]
    else:
        if len(streams) > MAX_READ_STREAMS:
            tails["(more streams)"] = [f"were not read: the job has more than {MAX_READ_STREAMS}"]
    return _select_distinct_tails(tails)


def list_log_streams(
    client: Any, kind: JobKind, job_name: str, *, retry_seconds: float = CALL_RETRY_SECONDS
) -> Iterator[str]:
    """Names of the job's log streams in CloudWatch Logs."""
    request = {"logGroupName": kind.log_group, "logStreamNamePrefix": f"{job_name}/", "limit": 50}
    for page in list_pages(client.describe_log_streams, request, "nextToken", retry_seconds=retry_seconds):
        yield from (stream["logStreamName"] for stream in page.get("logStreams", []))


def _select_distinct_tails(tails: dict[str, list[str]]) -> dict[str, list[str]]:
    """At most ``MAX_SHOWN_STREAMS`` of ``tails``, one for each distinct last line first, and the names of the rest."""
    if len(tails) <= MAX_SHOWN_STREAMS:
        return tails
    ends: dict[str, list[str]] = {}
    for stream, tail in tails.items():
        # Last lines of the same failure differ in times, hosts and process ids.
        ends.setdefault(re.sub(r"\d+", "0", tail[-1]) if tail else "", []).append(stream)
    first = [streams[0] for streams in ends.values()]
    rest = [stream for streams in ends.values() for stream in streams[1:]]
    shown = set([*first, *rest][:MAX_SHOWN_STREAMS])
    left_out = [stream for stream in tails if stream not in shown]
    return {
        **{stream: tail for stream, tail in tails.items() if stream in shown},
        "(not shown)": [f"{len(left_out)} streams: {', '.join(left_out)}"],
    }
