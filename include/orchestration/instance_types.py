"""Whether SageMaker has the instance types of a plan for the jobs that they are meant for, by AWS's own lists."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import botocore.session

from include.scoring.errors import LintError
from include.scoring.messages import did_you_mean
from include.scoring.plan import Plan

#: AWS's lists, by the jobs' kind.
LISTS = {"processing": "ProcessingInstanceType", "transform": "TransformInstanceType"}
#: Lists that say which other types there are.
OTHERS = ("TrainingInstanceType", "ProductionVariantInstanceType")


@cache
def types_of(shape: str) -> frozenset[str]:
    """The types in one of AWS's lists, as the installed botocore has it."""
    found: Any = botocore.session.get_session().get_service_model("sagemaker").shape_for(shape)
    return frozenset(found.enum)


def check_instance_types(plan: Plan) -> None:
    """Raise LintError for a type that SageMaker has for other jobs only, or in other sizes.

    A type of a family that no list has is newer than the lists, and passes.
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
        raise LintError(problems)


def _problems(stage: str, kind: str, chosen: tuple[str, ...]) -> Iterator[str]:
    known = types_of(LISTS[kind])
    every = known.union(*map(types_of, (*LISTS.values(), *OTHERS)))
    families = {each.rsplit(".", 1)[0] for each in every}
    for each in chosen:
        if each not in known and each.rsplit(".", 1)[0] in families:
            yield (
                f"{stage}.instance_type: found {each}, which SageMaker does not have for {kind} jobs"
                f"{did_you_mean(each, sorted(known))}"
            )
