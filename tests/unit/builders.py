"""Small valid inputs that a test bends in one place."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from batch_inference.config.pipeline import Pipeline, load_pipeline
from batch_inference.config.run_params import RunParams
from batch_inference.planning.clusters.cluster_choice import PlanningContext
from batch_inference.planning.inputs.input_listing import S3Object
from batch_inference.planning.inputs.input_probe import ProbeResult
from batch_inference.planning.inputs.input_selection import InputSelection
from batch_inference.planning.model_version import plan_model_without_lookup
from batch_inference.planning.plan import Plan
from batch_inference.planning.planner import RunInfo, make_plan
from batch_inference.requests.lint import check_requests
from batch_inference.requests.sagemaker import Request, build_config, build_planned_requests, build_requests

EXAMPLE = Path(__file__).resolve().parents[2] / "include" / "pipelines" / "abalone.yaml"
MOMENT = datetime(2026, 1, 31, 7, 30, tzinfo=UTC)
INPUT = "s3://data/in/"

DOCUMENT: dict[str, Any] = {
    "name": "churn",
    "role": "arn:aws:iam::123456789012:role/scoring",
    "work": "s3://data/work",
    "input": {
        "uri": INPUT,
        "columns": [
            {"name": "id", "type": "string"},
            {"name": "age", "type": "integer"},
            {"name": "label", "type": "integer", "optional": True},
        ],
    },
    "output": {"uri": "s3://data/out/date={date}/"},
    "model": {"name": "churn-model"},
    "preprocess": {"image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/python:3", "max_instances": 4},
    "transform": {"max_instances": 4},
    "goals": {"prefer": "speed"},
    "predictions": {"fields": {"score": "churn"}},
}

TWO_CONTAINERS = {
    "containers": [
        {"image": "registry/features:1", "model_data": "s3://models/a.tar.gz"},
        {"image": "registry/linear:1", "model_data": "s3://models/b.tar.gz"},
    ]
}


def document(changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The valid document with values replaced at dotted paths; a value of None removes the key."""
    made = copy.deepcopy(DOCUMENT)
    for path, value in (changes or {}).items():
        *parents, last = path.split(".")
        at = made
        for parent in parents:
            at = at.setdefault(parent, {})
        if value is None:
            at.pop(last, None)
        else:
            at[last] = copy.deepcopy(value)
    return made


def pipeline(changes: Mapping[str, Any] | None = None) -> Pipeline:
    """The valid pipeline with values replaced at dotted paths."""
    return Pipeline.model_validate(document(changes))


#: The valid document without preprocessing, and without what only that can do.
WITHOUT_PREPROCESS: dict[str, Any] = {
    "preprocess": None,
    "input.columns": [{"name": "id", "type": "string"}, {"name": "age", "type": "integer"}],
}


def pipeline_without_preprocess(changes: Mapping[str, Any] | None = None) -> Pipeline:
    """A valid pipeline without preprocessing, with values replaced at dotted paths."""
    return pipeline({**WITHOUT_PREPROCESS, **(changes or {})})


def example() -> Pipeline:
    """The pipeline that the project ships."""
    return load_pipeline(EXAMPLE)


def objects(sizes: Iterable[int]) -> list[S3Object]:
    """A listing with these sizes."""
    return [
        S3Object(key=f"in/{number:05d}.csv", size=size, etag=str(size)) for number, size in enumerate(sizes)
    ]


def select_input(uri: str, *keys: str) -> Iterator[S3Object]:
    """The input among objects with these keys."""
    return InputSelection(uri, lambda _: None).select([S3Object(key, 100) for key in keys])


def plan(
    sizes: Iterable[int] = (1_000_000,),
    *,
    of: Pipeline | None = None,
    region: str | None = None,
    **params: Any,
) -> Plan:
    """The plan for a listing with these sizes."""
    of = of or pipeline()
    return make_plan(of, RunParams(**params), objects(sizes), run_info(region=region), context(of))


def run_info(**changes: Any) -> RunInfo:
    """A run, with other values."""
    return RunInfo(
        **{
            "run_id": "scheduled__2026-01-31",
            "nonce": "0123456789abcdef",
            "data_time": MOMENT,
            "input_uri": INPUT,
            "output_uri": "s3://data/out/date=2026-01-31/",
            **changes,
        }
    )


def context(of: Pipeline, **changes: Any) -> PlanningContext:
    """What a plan of this pipeline is based on, with other values."""
    return PlanningContext(**{"model": plan_model_without_lookup(of), "now": MOMENT, **changes})


PREFIX = "s3://data/work/churn/r1/"
PLAN_VALUES: dict[str, Any] = {
    "run_prefix": PREFIX,
    **{
        f"{stage}.{name}": value
        for stage in ("preprocess", "transform", "join.job")
        for name, value in {
            "instance_type": "ml.m5.xlarge", "instance_count": 2, "volume_size_gb": 30, "max_runtime_seconds": 3600,
        }.items()
    },
    "transform.max_concurrent_transforms": 4,
    "transform.max_payload_mb": 5,
    "transform.batch_strategy": "MultiRecord",
    "transform.timeout_seconds": 600,
    "transform.retries": 3,
    "join.job": {},
    "model.package": "arn:aws:sagemaker:eu-west-1:123456789012:model-package/churn/7",
}  # fmt: skip


def requests(of: Pipeline, **changes: Any) -> dict[str, Request]:
    """The requests of a run of this pipeline as its jobs' tasks fill them, with values of the plan replaced by name."""
    values = {path: changes.get(path.rpartition(".")[2], value) for path, value in PLAN_VALUES.items()}
    made = build_requests(of, values.__getitem__, region="us-east-1", tags={"run": "r1"})
    configs = {
        stage: build_config(
            made,
            stage,
            {
                "base_name": f"churn-{stage}-1",
                "model_name": "churn-model-1",
                "source_uri": f"{PREFIX}churn-preprocess-1/features/",
                "join_inputs": f"{PREFIX}join-inputs/churn-transform-1-1/",
            },
        )
        for stage in ("preprocess", "transform", "join")
        if stage in made
    }
    transform = configs["transform"]
    return {
        **{str(stage): config for stage, config in configs.items()},
        "transform": transform["Transform"],
        **({"model": transform["Model"]} if "Model" in transform else {}),
    }


def run_preflight(of: Pipeline, planned: Plan, probe_result: ProbeResult | None = None) -> None:
    """Check the requests of a plan as `plan` does."""
    check_requests(of, planned, build_planned_requests(of, planned), probe_result)
