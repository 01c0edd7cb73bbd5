"""Imports, once in each component of Airflow, what its processes for tasks and DAG files would import each by itself.

They are forked from the component: without this, half of the suite's time would go into the same imports again.
"""

from airflow.plugins_manager import AirflowPlugin

import batch_inference.dag.janitor
import batch_inference.dag.scoring_dag  # noqa: F401


class PreloadingPlugin(AirflowPlugin):
    """Nothing else."""

    name = "preloading"
