"""Everything that the rows of a run follow from, as digests: where they are equal, a run would change nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

from include.orchestration.storage import Storage
from include.scoring.config import Pipeline
from include.scoring.plan import Fingerprint, Plan
from sagemaker_jobs.aws import client_of

#: Keys of a pipeline file that the rows do not depend on.
OPERATIONAL = {
    "description",
    "keep_runs_days",
    "schedule",
    "schedule_on",
    "tags",
    "prices",
    "goals",
    "notify",
    "pool",
    "quotas",
    "skip_unchanged",
}


def fingerprint(storage: Storage, pipeline: Pipeline, plan: Plan, code: Iterable[Path]) -> Fingerprint:
    """The digests of this run; `code` are the files that its jobs run."""
    return Fingerprint(
        input=_digest([plan.input.uri, plan.input.digest]),
        model=_digest(_model(storage, pipeline, plan)),
        pipeline=_digest(
            [
                pipeline.model_dump(mode="json", exclude=OPERATIONAL),
                plan.transform.batch_strategy,
                [[path.name, hashlib.sha256(path.read_bytes()).hexdigest()] for path in code],
            ]
        ),
    )


def _model(storage: Storage, pipeline: Pipeline, plan: Plan) -> Any:
    """What the model consists of: of `containers` the ETags of artefacts, which may be replaced under their names.

    Of a model that exists, or a package, it is the identity alone: what lies behind that is not looked at.
    """
    if plan.model.package is not None:
        return plan.model.package  # the versions of a package do not change
    if plan.model.name is not None:
        hook = SageMakerHook(aws_conn_id=pipeline.aws_conn_id, region_name=pipeline.region)  # type: ignore[no-untyped-call]
        client = client_of(hook)
        described = client.describe_model(ModelName=plan.model.name)
        return [described["ModelArn"], described["CreationTime"].isoformat()]
    return [
        [
            container.model_dump(mode="json"),
            None if container.model_data is None else storage.head(container.model_data)["etag"],
        ]
        for container in pipeline.model.containers
    ]


def unchanged_since(storage: Storage, output_uri: str, now: Fingerprint) -> str | None:
    """The run that published the same already, if what it published is still there; else None."""
    published = storage.current(f"{output_uri}_manifest.json")
    if published is None or published[0].get("fingerprint") != now.model_dump(mode="json"):
        return None
    there = set(storage.uris(output_uri))
    run_id: str = published[0]["run_id"]
    return run_id if all(file["uri"] in there for file in published[0]["files"]) else None


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
