"""Finds the held run that a person releases (`publish_run`)."""

from __future__ import annotations

from typing import Any

from batch_inference.aws.s3 import Storage
from batch_inference.common.errors import ReleaseError
from batch_inference.common.names import RunPaths
from batch_inference.config.pipeline import Pipeline
from batch_inference.planning.plan import strip_pipeline

#: States of checks.json in which a run can be released; `released`: its publishing was started and did not end.
RELEASABLE_STATES = ("held", "released")


def read_held_plan(storage: Storage, pipeline: Pipeline, run_id: str) -> dict[str, Any]:
    """The plan of the held run of this id.

    Raises:
        ReleaseError: there is no such run, or it is not held.
    """
    paths = RunPaths.from_run_id(work=pipeline.work, pipeline=pipeline.name, run_id=run_id)
    found = storage.read_json_with_etag(paths.plan)
    if found is None:
        raise ReleaseError(
            f"publish_run: found {run_id!r}, and there is no run of it below {paths.run_prefix}; allowed is the id of "
            f"a run of {pipeline.name} that is held, as its page in Airflow shows it"
        )
    checks = storage.read_json_with_etag(paths.checks)
    # A cleared run has another plan, and the checks of the earlier plan do not hold for it.
    state = None if checks is None or checks[0]["nonce"] != found[0]["nonce"] else checks[0]["state"]
    if state not in RELEASABLE_STATES:
        reason = {
            None: "never got as far as its checks, so there is nothing to publish; clear its failed task instead",
            "unjudged": "has checks that did not finish; clear `checks` with what follows it",
            "passed": "was not held by its gates; if it was not published, clear its failed task instead",
            "published": "was held and has been published by hand already",
        }[state]
        raise ReleaseError(f"publish_run: the run {run_id!r} {reason}")
    return strip_pipeline(found[0])
