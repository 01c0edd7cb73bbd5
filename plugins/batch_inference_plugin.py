"""Registers this project's task links and pages with Airflow."""

from __future__ import annotations

from pathlib import Path

from airflow.plugins_manager import AirflowPlugin
from airflow.providers.amazon.aws.links.sagemaker import SageMakerTransformJobLink

from batch_runs.mount import EXTERNAL_VIEWS, URL_PREFIX, serve_pages
from sagemaker_jobs.airflow_compat import conf
from sagemaker_jobs.links import SageMakerJobLogsLink, SageMakerProcessingJobLink


class BatchInferencePlugin(AirflowPlugin):
    """Links from tasks to their SageMaker jobs and logs, and the Batch inference pages."""

    name = "batch_inference"
    operator_extra_links = [  # noqa: RUF012 - AirflowPlugin declares it as a plain class attribute
        SageMakerProcessingJobLink(),
        SageMakerTransformJobLink(),
        SageMakerJobLogsLink(),
    ]
    fastapi_apps = [{"app": serve_pages, "url_prefix": URL_PREFIX, "name": "Batch inference"}]  # noqa: RUF012
    external_views = EXTERNAL_VIEWS


#: What the wheel's entry point names. Where the plugins folder holds this file too, Airflow has loaded it from there,
#: and gives the entry point that module: None keeps Airflow from the same plugin a second time.
installed_plugin = (
    None if Path(__file__).parent == Path(conf.get("core", "plugins_folder")) else BatchInferencePlugin
)
