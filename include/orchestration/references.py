"""The statistics of pinned runs that gates compare with: looked at before a run spends anything."""

from __future__ import annotations

from botocore.exceptions import ClientError

from include.orchestration.storage import Storage, is_gone
from include.scoring.config import Pipeline
from include.scoring.errors import PlanError
from include.scoring.gates import pinned

#: What S3 answers to HEAD, which has no body, to a role that may not read an object. To one that may not list either it
#: answers the same where there is none.
REFUSED = "403"


def check_references(storage: Storage, pipeline: Pipeline) -> None:
    """Raise PlanError, with the gate and the URI, when statistics that a gate needs are not there or not readable."""
    for uri, gate in pinned(pipeline.gates).items():
        try:
            storage.head(uri)
        except ClientError as error:
            gone, code = is_gone(error), error.response["Error"]["Code"]
            if not gone and code != REFUSED:
                raise
            found = "which is not there" if gone else "which is not there, or may not be read"
            raise PlanError(
                f"{gate}: found {uri}, {found} (S3 says {code}); write the URI of the statistics.json of a run that "
                f"is kept, and let Airflow's role read it (`make iam` allows it). Nothing was spent"
            ) from error
