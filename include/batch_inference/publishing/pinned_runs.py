"""Checks, before any job starts, that the statistics of pinned runs, which gates compare with, can be read."""

from __future__ import annotations

from botocore.exceptions import ClientError

from batch_inference.aws.s3 import Storage, is_not_found
from batch_inference.common.errors import PlanError
from batch_inference.config.pipeline import Pipeline
from batch_inference.config.sections.gates import find_pinned_statistics

#: S3's answer to HEAD, which has no body, for a role that may not read the object; also for a missing object, for a
#: role that may not list.
FORBIDDEN = "403"


def check_pinned_statistics(storage: Storage, pipeline: Pipeline) -> None:
    """Raise PlanError, with the gate and the URI, when statistics that a gate needs are missing or not readable."""
    for uri, gate in find_pinned_statistics(pipeline.gates).items():
        try:
            storage.head(uri)
        except ClientError as error:
            gone, code = is_not_found(error), error.response["Error"]["Code"]
            if not gone and code != FORBIDDEN:
                raise
            found = "which does not exist" if gone else "which does not exist, or may not be read"
            raise PlanError(
                f"{gate}: found {uri}, {found} (S3 says {code}); write the URI of the statistics.json of a run that "
                f"is kept, and let Airflow's role read it (`make iam` allows it). Nothing was spent"
            ) from error
