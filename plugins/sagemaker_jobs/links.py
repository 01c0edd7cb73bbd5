"""Links from a task to its job and to the job's logs in the AWS console."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from airflow.providers.amazon.aws.links.base_aws import BASE_AWS_CONSOLE_LINK, BaseAwsLink
from airflow.providers.amazon.aws.links.sagemaker import SageMakerTransformJobLink

from sagemaker_jobs.kinds import PROCESSING, JobKind


class SageMakerProcessingJobLink(BaseAwsLink):
    """The processing job's page."""

    name = "Amazon SageMaker Processing Job Details"
    key = "sagemaker_processing_job_details"
    format_str = BASE_AWS_CONSOLE_LINK + "/sagemaker/home?region={region_name}#/processing-jobs/{job_name}"


class SageMakerJobLogsLink(BaseAwsLink):
    """All of the job's log streams in CloudWatch Logs."""

    name = "CloudWatch Logs"
    key = "sagemaker_job_logs"
    format_str = (
        BASE_AWS_CONSOLE_LINK
        + "/cloudwatch/home?region={region_name}#logsV2:log-groups/log-group/{log_group}{log_streams}"
    )

    def format_link(self, **kwargs: Any) -> str:
        """The URL; the console expects the log group quoted twice, with ``$`` in place of ``%``."""
        if not {"log_group", "job_name"} <= kwargs.keys():
            return ""
        kwargs["log_group"] = _console_quote(kwargs["log_group"])
        stream_filter = _console_quote(f"{kwargs.pop('job_name')}/")
        kwargs["log_streams"] = f"$3FlogStreamNameFilter$3D{stream_filter}"
        return super().format_link(**kwargs)


def build_links(kind: JobKind) -> tuple[BaseAwsLink, ...]:
    """The extra links of a task of this kind."""
    job_link = SageMakerProcessingJobLink() if kind is PROCESSING else SageMakerTransformJobLink()
    return job_link, SageMakerJobLogsLink()


def persist_links(context: Any, operator: Any, hook: Any, kind: JobKind, job_name: str) -> None:
    """Store the links' values in XCom, so that they work while the task still waits."""
    where = {"region_name": hook.conn_region_name, "aws_partition": hook.conn_partition}
    job_link, logs_link = build_links(kind)
    job_link.persist(context=context, operator=operator, job_name=quote(job_name, safe=""), **where)
    where["log_group"] = kind.log_group
    logs_link.persist(context=context, operator=operator, job_name=job_name, **where)


def _console_quote(text: str) -> str:
    return quote(quote(text, safe=""), safe="").replace("%", "$")
