"""Finding the run that a person asks to publish although its gates hold it."""

from __future__ import annotations

from typing import Any

from include.orchestration.storage import Storage
from include.scoring.config import Pipeline
from include.scoring.errors import ReleaseError
from include.scoring.naming import RunPaths
from include.scoring.plan import xcom_of

#: A run in one of these states of its checks waits for a person; `released` is one whose publishing did not end.
WAITING = ("held", "released")


def held_run(storage: Storage, pipeline: Pipeline, run_id: str) -> dict[str, Any]:
    """The plan of the held run of this id.

    Raises:
        ReleaseError: there is no such run, or it does not wait to be published.
    """
    paths = RunPaths.of(work=pipeline.work, pipeline=pipeline.name, run_id=run_id)
    found = storage.current(paths.plan)
    if found is None:
        raise ReleaseError(
            f"publish_run: found {run_id!r}, and there is no run of it below {paths.run_prefix}; allowed is the id of "
            f"a run of {pipeline.name} that is held, as its page in Airflow shows it"
        )
    judged = storage.current(paths.checks)
    # A run that was cleared has another plan, and what was judged before is not what that one asks for.
    state = None if judged is None or judged[0]["nonce"] != found[0]["nonce"] else judged[0]["state"]
    if state not in WAITING:
        said = {
            None: "never got as far as its checks, so there is nothing to publish; clear its failed task instead",
            "unjudged": "was not judged to its end; clear `checks` with what follows it",
            "passed": "was not held by its gates; if it was not published, clear its failed task instead",
            "published": "was held and has been published by hand already",
        }[state]
        raise ReleaseError(f"publish_run: the run {run_id!r} {said}")
    return xcom_of(found[0])
