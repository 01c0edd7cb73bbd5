"""Loads AWS's service models from botocore: the one source of shapes and constraints."""

from __future__ import annotations

from functools import cache
from typing import Any, cast

import botocore
import botocore.session
from botocore.model import OperationModel, ServiceModel, Shape, StructureShape

BOTOCORE_VERSION: str = botocore.__version__


@cache
def load_service_model(service_name: str = "sagemaker") -> ServiceModel:
    """The model of a service; SageMaker's takes about 0.2 s to load and is cached."""
    return botocore.session.get_session().get_service_model(service_name)


@cache
def load_operation_names(service_name: str = "sagemaker") -> frozenset[str]:
    """Every operation that AWS's service has, implemented here or not."""
    return frozenset(load_service_model(service_name).operation_names)


@cache
def load_operation_model(operation: str, service_name: str = "sagemaker") -> OperationModel:
    """The model of one operation, which the service must have."""
    return load_service_model(service_name).operation_model(operation)


def get_members(shape: Shape) -> dict[str, Shape]:
    """The members of a structure, by name."""
    return dict(cast(StructureShape, shape).members)


def get_constraints(shape: Shape) -> dict[str, Any]:
    """min, max, enum, pattern and required, as the model has them."""
    return dict(shape.metadata)
