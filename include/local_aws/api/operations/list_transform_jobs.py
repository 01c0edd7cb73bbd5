"""ListTransformJobs: newest first by default."""

from __future__ import annotations

from typing import Any

from include.local_aws.api.call import Call
from include.local_aws.api.kinds import TRANSFORM
from include.local_aws.api.listing import build_query


def list_transform_jobs(call: Call) -> dict[str, Any]:
    """One page of summaries."""
    page = build_query(
        call.request, {"kind": "transform", "region": call.region}, TRANSFORM.default_sort_order
    )
    jobs = call.services.store.jobs.select(page.where, page.values, page.order_and_limit)
    return {
        "TransformJobSummaries": [
            {
                "TransformJobName": job.name,
                "TransformJobArn": job.arn,
                "CreationTime": job.created_at,
                "TransformEndTime": job.ended_at,
                "LastModifiedTime": job.modified_at,
                "TransformJobStatus": job.status,
                "FailureReason": job.failure_reason,
            }
            for job in jobs[: page.page_size]
        ],
        "NextToken": page.build_next_token(jobs),
    }
