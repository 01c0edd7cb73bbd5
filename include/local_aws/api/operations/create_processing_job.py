"""CreateProcessingJob: unlike CreateTransformJob, it does not check S3; the job does."""

from __future__ import annotations

from typing import Any

from include.local_aws.api.call import Call
from include.local_aws.api.job_operations import create_job, refuse_duplicate
from include.local_aws.api.kinds import PROCESSING
from include.local_aws.api.processing_rules import check_processing_request, list_clusters
from include.local_aws.api.roles import require_role


def create_processing_job(call: Call) -> dict[str, Any]:
    """The first of InstancePreferences that fits the quotas and has free capacity is used."""
    request = call.request
    check_processing_request(request)
    refuse_duplicate(call, PROCESSING)
    require_role(call, request["RoleArn"])
    isolation = request.get("NetworkConfig", {}).get("EnableNetworkIsolation", False)
    return create_job(
        call, PROCESSING, list_clusters(request), containers=[], network_isolation=bool(isolation)
    )
