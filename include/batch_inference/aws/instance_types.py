"""Checks that SageMaker has a plan's instance types for the kind of job, by the lists in botocore."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import botocore.session

from batch_inference.common.errors import RequestLintError
from batch_inference.common.formatting import suggest_name
from batch_inference.planning.plan import Plan

#: AWS's lists, by kind of job.
SHAPE_BY_JOB_KIND = {"processing": "ProcessingInstanceType", "transform": "TransformInstanceType"}
#: Lists of instance types for other uses.
OTHER_SHAPES = ("TrainingInstanceType", "ProductionVariantInstanceType")


@cache
def read_shape_types(shape: str) -> frozenset[str]:
    """The types in one of AWS's lists, as the installed botocore has it."""
    found: Any = botocore.session.get_session().get_service_model("sagemaker").shape_for(shape)
    return frozenset(found.enum)


def check_instance_types(plan: Plan) -> None:
    """Raise RequestLintError for a type that SageMaker has for other jobs only, or in other sizes.

    A type of a family that no list has is taken to be newer than the lists, and passes.
    """
    stages = (
        ("preprocess", "processing", plan.preprocess),
        ("transform", "transform", plan.transform),
        ("join", "processing", plan.join.job),
    )
    problems = tuple(
        problem
        for stage, kind, sized in stages
        if sized is not None
        for problem in _problems(stage, kind, sized.instance_types)
    )
    if problems:
        raise RequestLintError(problems)


def _problems(stage: str, kind: str, instance_types: tuple[str, ...]) -> Iterator[str]:
    known = read_shape_types(SHAPE_BY_JOB_KIND[kind])
    every = known.union(*map(read_shape_types, (*SHAPE_BY_JOB_KIND.values(), *OTHER_SHAPES)))
    families = {each.rsplit(".", 1)[0] for each in every}
    for each in instance_types:
        if each not in known and each.rsplit(".", 1)[0] in families:
            yield (
                f"{stage}.instance_type: found {each}, which SageMaker does not have for {kind} jobs"
                f"{suggest_name(each, sorted(known))}"
            )
