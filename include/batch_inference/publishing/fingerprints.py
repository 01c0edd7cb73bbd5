"""Digests of everything that determines a run's rows: with equal digests, a run would publish the same rows again."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

from batch_inference.aws.s3 import Storage
from batch_inference.config.pipeline import Pipeline
from batch_inference.planning.plan import Fingerprint, Plan
from batch_inference.publishing.output import PART_PREFIX, read_published
from sagemaker_jobs.aws import get_client

#: Keys of a pipeline file that do not affect the rows.
OPERATIONAL_KEYS: dict[str, Any] = {
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


def compute_fingerprint(storage: Storage, pipeline: Pipeline, plan: Plan) -> Fingerprint:
    """The digests of this run."""
    settings = pipeline.model_dump(mode="json", exclude=OPERATIONAL_KEYS)
    return Fingerprint(
        input=_digest([plan.input.uri, plan.input.digest]),
        model=_digest(_describe_model(storage, pipeline, plan)),
        pipeline=_digest([settings, plan.transform.batch_strategy, plan.code_digest]),
    )


def _describe_model(storage: Storage, pipeline: Pipeline, plan: Plan) -> Any:
    """What identifies the model: for `containers` with the ETags of their artefacts, which can be overwritten.

    For an existing model or a package only its identity: its artefacts are not checked.
    """
    if plan.model.package is not None:
        return plan.model.package  # the versions of a package do not change
    if plan.model.name is not None:
        hook = SageMakerHook(aws_conn_id=pipeline.aws_conn_id, region_name=pipeline.region)  # type: ignore[no-untyped-call]
        described = get_client(hook).describe_model(ModelName=plan.model.name)
        return [described["ModelArn"], described["CreationTime"].isoformat()]
    return [
        [
            container.model_dump(mode="json"),
            None if container.model_data is None else storage.head(container.model_data)["etag"],
        ]
        for container in pipeline.model.containers
    ]


def find_unchanged_run(storage: Storage, plan: Plan, current: Fingerprint) -> str | None:
    """The run that published with the same fingerprint, if all its part files still exist; else None."""
    published = read_published(storage, plan.output_uri, plan.pipeline)
    if published is None or published.manifest.get("fingerprint") != current.model_dump(mode="json"):
        return None
    there = set(storage.list_uris(f"{plan.output_uri}{PART_PREFIX}"))
    return published.run_id if all(uri in there for uri in published.part_uris) else None


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
