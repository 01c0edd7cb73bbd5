"""The last lines that a job's containers wrote to CloudWatch Logs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.providers.amazon.aws.hooks.logs import AwsLogsHook
from botocore.exceptions import BotoCoreError, ClientError

from sagemaker_jobs.aws import call, error_code

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
    # Not hook.logs_hook: that one is built without the region, verify and botocore_config of this task.
    client = AwsLogsHook(
        aws_conn_id=hook.aws_conn_id,
        region_name=hook.conn_region_name,
        verify=hook.verify,
        config=hook.config,
    ).conn
    tails: dict[str, list[str]] = {}
    try:
        answer = call(
            client.describe_log_streams,
            patience=_PATIENCE_SECONDS,
            logGroupName=kind.log_group,
            logStreamNamePrefix=f"{job_name}/",
            limit=MAX_STREAMS,
        )
        for stream in sorted(stream["logStreamName"] for stream in answer.get("logStreams", [])):
            events = call(
                client.get_log_events,
                patience=_PATIENCE_SECONDS,
                logGroupName=kind.log_group,
                logStreamName=stream,
                limit=lines,
                startFromHead=False,
            )
            tails[stream] = [event["message"].rstrip("\n") for event in events.get("events", [])][-lines:]
    except ClientError as error:
        if error_code(error) != "ResourceNotFoundException":
            tails["(logs)"] = [f"could not be read from {kind.log_group}: {error}"]
    except (BotoCoreError, OSError) as error:
        tails["(logs)"] = [f"could not be read from {kind.log_group}: {error}"]
    return tails
