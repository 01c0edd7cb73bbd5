"""Everything that the rows of a run follow from, as digests: where they are equal, a run would change nothing."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

from include.orchestration.output import PART, read_published
from include.orchestration.storage import Storage
from include.scoring.config import Pipeline
from include.scoring.plan import Fingerprint, Plan
from sagemaker_jobs.aws import client_of

#: Keys of a pipeline file that the rows do not depend on.
OPERATIONAL: dict[str, Any] = {
    "description": True,
    "keep_runs_days": True,
    "schedule": True,
    "schedule_on": True,
    "tags": True,
    "prices": True,
    "goals": True,
    "notify": True,
    "pool": True,
    "quotas": True,
    "skip_unchanged": True,
    "output": {"grace_minutes": True},
}


def fingerprint(storage: Storage, pipeline: Pipeline, plan: Plan) -> Fingerprint:
    """The digests of this run."""
    return Fingerprint(
        input=_digest([plan.input.uri, plan.input.digest]),
        model=_digest(_model(storage, pipeline, plan)),
        pipeline=_digest(
            [
                pipeline.model_dump(mode="json", exclude=OPERATIONAL),
                plan.transform.batch_strategy,
                plan.code,
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


def unchanged_since(storage: Storage, plan: Plan, now: Fingerprint) -> str | None:
    """The run that published the same already, if what it published is still there; else None."""
    published = read_published(storage, plan.output_uri, plan.pipeline)
    if published is None or published.manifest.get("fingerprint") != now.model_dump(mode="json"):
        return None
    there = set(storage.uris(f"{plan.output_uri}{PART}"))
    return published.run_id if all(uri in there for uri in published.files) else None


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
