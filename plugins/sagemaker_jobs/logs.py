"""The last lines that a job's containers wrote to CloudWatch Logs."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.logs import AwsLogsHook
from botocore.exceptions import BotoCoreError, ClientError

from sagemaker_jobs.aws import call, client_of, error_code, sibling

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

    from sagemaker_jobs.kinds import JobKind

TAIL_LINES = 50
SHOWN_STREAMS = 20  # of a hundred instances that fail alike, twenty tell as much
READ_STREAMS = 100
_PATIENCE_SECONDS = 20.0


def tail_logs(
    hook: SageMakerHook, kind: JobKind, job_name: str, *, lines: int = TAIL_LINES
) -> dict[str, list[str]]:
    """The last ``lines`` lines of each of the job's log streams, by stream name, in order of name.

    Of more than ``SHOWN_STREAMS`` those that end differently come before those that end as another one does, and an
    entry says what was left out. {} when the job wrote nothing. A role that may not read logs gets one entry that says
    so: a missing permission must not hide why the job failed.
    """
    client = client_of(sibling(AwsLogsHook, hook))
    tails: dict[str, list[str]] = {}
    try:
        streams = sorted(itertools.islice(_streams(client, kind.log_group, f"{job_name}/"), READ_STREAMS + 1))
        for stream in streams[:READ_STREAMS]:
            where = {"logGroupName": kind.log_group, "logStreamName": stream}
            wanted = {**where, "limit": lines, "startFromHead": False}
            events = call(client.get_log_events, wanted, patience=_PATIENCE_SECONDS)
            tails[stream] = [event["message"].rstrip("\n") for event in events.get("events", [])][-lines:]
    except ClientError as error:
        if error_code(error) != "ResourceNotFoundException":
            tails["(logs)"] = [f"could not be read from {kind.log_group}: {error}"]
    except (BotoCoreError, OSError) as error:
        tails["(logs)"] = [f"could not be read from {kind.log_group}: {error}"]
    else:
        if len(streams) > READ_STREAMS:
            tails["(more streams)"] = [f"were not read: the job has more than {READ_STREAMS}"]
    return _most_telling(tails)


def _streams(client: Any, group: str, prefix: str) -> Iterator[str]:
    wanted: dict[str, Any] = {"logGroupName": group, "logStreamNamePrefix": prefix, "limit": 50}
    while True:
        page = call(client.describe_log_streams, wanted, patience=_PATIENCE_SECONDS)
        yield from (stream["logStreamName"] for stream in page.get("logStreams", []))
        if not page.get("nextToken"):
            return
        wanted["nextToken"] = page["nextToken"]


def _most_telling(tails: dict[str, list[str]]) -> dict[str, list[str]]:
    """At most ``SHOWN_STREAMS`` of ``tails``, one of each way to end first, and which ones are not shown."""
    if len(tails) <= SHOWN_STREAMS:
        return tails
    ends: dict[str, list[str]] = {}
    for stream, tail in tails.items():
        # Instances that fail alike differ in times, hosts and process ids.
        ends.setdefault(re.sub(r"\d+", "0", tail[-1]) if tail else "", []).append(stream)
    first = [streams[0] for streams in ends.values()]
    rest = [stream for streams in ends.values() for stream in streams[1:]]
    shown = set([*first, *rest][:SHOWN_STREAMS])
    left_out = [stream for stream in tails if stream not in shown]
    return {
        **{stream: tail for stream, tail in tails.items() if stream in shown},
        "(not shown)": [f"{len(left_out)} streams: {', '.join(left_out)}"],
    }
