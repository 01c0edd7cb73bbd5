"""Imports, once in a component of Airflow, what its processes for tasks and DAG files would import each by itself.

They are forked from the component: without this, most of the suite's time would go into the same imports again, and
into AWS's models of its services, which are tens of megabytes of JSON.
"""

import gc
import importlib
import pkgutil
import sys

import boto3
from airflow.plugins_manager import AirflowPlugin

COMPONENT = "".join(sys.argv[1:2])
if COMPONENT in {"scheduler", "celery", "dag-processor"}:
    import batch_inference.dag.janitor
    import batch_inference.dag.scoring_dag
    import batch_inference.dag.tasks

    for module in pkgutil.iter_modules(batch_inference.dag.tasks.__path__, "batch_inference.dag.tasks."):
        importlib.import_module(module.name)
if COMPONENT in {"scheduler", "celery"}:
    for service in ("s3", "sagemaker", "logs", "service-quotas"):
        boto3.Session("preloading", "preloading").client(service, region_name="us-east-1")

# All that is here stays: whoever collects garbage need not walk through it each time.
gc.collect()
gc.freeze()
gc.set_threshold(20_000, 20, 20)


class PreloadingPlugin(AirflowPlugin):
    """Nothing else."""

    name = "preloading"
