"""AWS's service models, as botocore ships them: the one source of shapes and constraints."""

from __future__ import annotations

from functools import cache
from typing import Any, cast

import botocore
import botocore.session
from botocore.model import OperationModel, ServiceModel, Shape, StructureShape

BOTOCORE_VERSION: str = botocore.__version__


@cache
def service_model(service: str = "sagemaker") -> ServiceModel:
    """The model of a service; SageMaker's takes about 0.2 s to load, so it is done once."""
    return botocore.session.get_session().get_service_model(service)


@cache
def operation_names(service: str = "sagemaker") -> frozenset[str]:
    """Every operation that AWS's service has, implemented here or not."""
    return frozenset(service_model(service).operation_names)


@cache
def operation_model(name: str, service: str = "sagemaker") -> OperationModel:
    """The model of one operation, which the service must have."""
    return service_model(service).operation_model(name)


def members(shape: Shape) -> dict[str, Shape]:
    """The members of a structure, by name."""
    return dict(cast(StructureShape, shape).members)


def constraints(shape: Shape) -> dict[str, Any]:
    """min, max, enum, pattern and required, as the model has them."""
    return dict(shape.metadata)
