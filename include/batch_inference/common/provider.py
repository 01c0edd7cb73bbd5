"""What `airflow providers list` shows of the installed package."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

PACKAGE_NAME = "airflow-sagemaker-batch-inference"


def get_provider_info() -> dict[str, Any]:
    """The fields of Airflow's schema of provider information."""
    return {
        "package-name": PACKAGE_NAME,
        "name": "SageMaker batch inference",
        "description": "Pipelines of SageMaker batch inference, as YAML files.",
        "versions": [version(PACKAGE_NAME)],
    }
