"""The last lines that a job's containers wrote to CloudWatch Logs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.providers.amazon.aws.hooks.logs import AwsLogsHook
from botocore.exceptions import BotoCoreError, ClientError

from sagemaker_jobs.aws import call, client_of, error_code, sibling

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

    from sagemaker_jobs.kinds import JobKind

TAIL_LINES = 50
MAX_STREAMS = 20  # of a hundred instances that fail alike, twenty tell as much
_PATIENCE_SECONDS = 20.0


def tail_logs(
    hook: SageMakerHook, kind: JobKind, job_name: str, *, lines: int = TAIL_LINES
) -> dict[str, list[str]]:
    """The last ``lines`` lines of each of the job's log streams, by stream name, in order of name.

    {} when the job wrote nothing. A role that may not read logs gets one entry that says so: a missing
    permission must not hide why the job failed.
    """
    client = client_of(sibling(AwsLogsHook, hook))
    tails: dict[str, list[str]] = {}
    try:
        found = call(
            client.describe_log_streams,
            {"logGroupName": kind.log_group, "logStreamNamePrefix": f"{job_name}/", "limit": MAX_STREAMS},
            patience=_PATIENCE_SECONDS,
        )
        for stream in sorted(stream["logStreamName"] for stream in found.get("logStreams", [])):
            where = {"logGroupName": kind.log_group, "logStreamName": stream}
            wanted = {**where, "limit": lines, "startFromHead": False}
            events = call(client.get_log_events, wanted, patience=_PATIENCE_SECONDS)
            tails[stream] = [event["message"].rstrip("\n") for event in events.get("events", [])][-lines:]
    except ClientError as error:
        if error_code(error) != "ResourceNotFoundException":
            tails["(logs)"] = [f"could not be read from {kind.log_group}: {error}"]
    except (BotoCoreError, OSError) as error:
        tails["(logs)"] = [f"could not be read from {kind.log_group}: {error}"]
    return tails
