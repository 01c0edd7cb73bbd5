"""SageMaker's service model, as botocore ships it: the one source of shapes and constraints."""

from __future__ import annotations

from functools import cache
from typing import Any, cast

import botocore
import botocore.session
from botocore.model import OperationModel, ServiceModel, Shape, StructureShape

BOTOCORE_VERSION: str = botocore.__version__


@cache
def service_model() -> ServiceModel:
    """The `sagemaker` service model; loading takes about 0.2 s, so it is done once."""
    return botocore.session.get_session().get_service_model("sagemaker")


@cache
def operation_names() -> frozenset[str]:
    """Every operation SageMaker has, implemented here or not."""
    return frozenset(service_model().operation_names)


@cache
def operation_model(name: str) -> OperationModel:
    """The model of one operation; `name` must be one of `operation_names()`."""
    return service_model().operation_model(name)


def members(shape: Shape) -> dict[str, Shape]:
    """The members of a structure, by name."""
    return dict(cast(StructureShape, shape).members)


def constraints(shape: Shape) -> dict[str, Any]:
    """min, max, enum, pattern and required, as the model has them."""
    return dict(shape.metadata)
