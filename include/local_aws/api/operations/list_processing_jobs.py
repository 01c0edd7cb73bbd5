"""ListProcessingJobs: oldest first by default."""

from __future__ import annotations

from typing import Any

from include.local_aws.api.call import Call
from include.local_aws.api.kinds import PROCESSING
from include.local_aws.api.listing import build_query


def list_processing_jobs(call: Call) -> dict[str, Any]:
    """One page of summaries."""
    page = build_query(
        call.request, {"kind": "processing", "region": call.region}, PROCESSING.default_sort_order
    )
    jobs = call.services.store.jobs.select(page.where, page.values, page.order_and_limit)
    return {
        "ProcessingJobSummaries": [
            {
                "ProcessingJobName": job.name,
                "ProcessingJobArn": job.arn,
                "CreationTime": job.created_at,
                "ProcessingEndTime": job.ended_at,
                "LastModifiedTime": job.modified_at,
                "ProcessingJobStatus": job.status,
                "FailureReason": job.failure_reason,
                "ExitMessage": job.exit_message,
            }
            for job in jobs[: page.page_size]
        ],
        "NextToken": page.build_next_token(jobs),
    }
