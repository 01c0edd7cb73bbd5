"""What the runs of a pipeline leave for later ones: published runs and their statistics, and held runs.

All but held runs outlives the run's prefix. A small document for each published run, and its statistics, with which
gates compare, are below `<work>/<pipeline>/_published/`. Names begin with the run's data time, so a listing is in order
of time, and a run that is published again replaces its own document.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from batch_inference.aws.s3 import Storage, is_not_found
from batch_inference.common.errors import PlanError, RunNotHeldError
from batch_inference.common.names import (
    RunPaths,
    build_published_runs_prefix,
    slugify_run_id,
)
from batch_inference.config.pipeline import Pipeline
from batch_inference.config.sections.gates import find_pinned_statistics
from batch_inference.planning.plan import Plan

log = logging.getLogger(__name__)

#: S3's answer to HEAD, which has no body, for a role that may not read the object; also for a missing object, for a
#: role that may not list.
FORBIDDEN = "403"
#: States of checks.json in which a run can be released; `released`: its publishing was started and did not end.
RELEASABLE_STATES = ("held", "released")


def build_prefix(pipeline: Pipeline) -> str:
    """The prefix of published runs. No run id begins like it: Airflow's begin with the type of the run."""
    return build_published_runs_prefix(work=pipeline.work, pipeline=pipeline.name)


def build_run_record_uri(pipeline: Pipeline, data_time: datetime, run_id: str) -> str:
    """The URI of a run's document; `data_time` is that of its plan."""
    return f"{build_prefix(pipeline)}runs/{_format_timestamp(data_time)}-{slugify_run_id(run_id)}.json"


def record_run(
    storage: Storage,
    pipeline: Pipeline,
    manifest: Mapping[str, Any],
    statistics_uri: str,
    *,
    expected_etag: str | None,
    is_current: Callable[[], bool],
) -> None:
    """Record a run that was committed.

    `expected_etag` is the ETag of its document before the commit: when it has changed since, another attempt of the run
    has written the document, and only the attempt whose manifest `is_current` replaces it.
    """
    uri = build_run_record_uri(pipeline, datetime.fromisoformat(manifest["data_time"]), manifest["run_id"])
    # Named by its content, so that the statistics of another attempt are never overwritten.
    digest = str(storage.read_etag(statistics_uri)).strip('"')
    name = uri.rsplit("/", 1)[1].removesuffix(".json")
    kept_uri = f"{build_prefix(pipeline)}statistics/{name}-{digest[:12]}.json"
    storage.copy(statistics_uri, kept_uri, source_etag=digest)
    kept = {key: manifest[key] for key in ("run_id", "data_time", "rows", "output_uri", "plan_uri")}
    document = {"version": 1, **kept, "statistics": kept_uri}
    while storage.write_json_conditionally(uri, document, expected_etag=expected_etag) is None:
        expected_etag = storage.read_etag(uri)
        if not is_current():
            log.warning("%s was written by a later attempt of this run, and stays as it is", uri)
            return


def read_runs_before(
    storage: Storage, pipeline: Pipeline, *, data_time: datetime, run_id: str, limit: int
) -> list[dict[str, Any]]:
    """The last published runs before this data time, at most `limit`, the latest last; never `run_id` itself."""
    if limit < 1:
        return []
    folder, own = f"{build_prefix(pipeline)}runs/", f"-{slugify_run_id(run_id)}.json"
    before = f"{folder}{_format_timestamp(data_time)}"
    uris = [uri for uri in sorted(storage.list_uris(folder)) if uri < before and not uri.endswith(own)]
    return [storage.read_json(uri) for uri in uris[-limit:]]


def _format_timestamp(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}"


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


def read_held_plan(storage: Storage, pipeline: Pipeline, run_id: str) -> Plan:
    """The plan of the held run of this id.

    Raises:
        RunNotHeldError: there is no such run, or it is not held.
        HandoffError: another version of this package planned it.
    """
    paths = RunPaths.from_run_id(work=pipeline.work, pipeline=pipeline.name, run_id=run_id)
    found = storage.read_json_with_etag(paths.plan)
    if found is None:
        raise RunNotHeldError(
            f"publish_run: found {run_id!r}, and there is no run of it below {paths.root}; allowed is the id of "
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
        raise RunNotHeldError(f"publish_run: the run {run_id!r} {reason}")
    return Plan.from_document(found[0], paths.plan)
