"""Run as a script, by its path: parse the DAGs folder as Airflow is set up here, and tell what was found as JSON.

It imports nothing of this repository, so that what the DAGs import is found by Airflow's own means.
"""

from __future__ import annotations

import importlib
import json
import sys

import airflow
from airflow import plugins_manager
from airflow.configuration import conf

try:
    from airflow.dag_processing.dagbag import DagBag
except ImportError:  # before Airflow 3.2
    from airflow.models.dagbag import DagBag


def main() -> None:
    """Print versions, DAGs, import errors, plugins and where the packages came from."""
    bag = DagBag(conf.get("core", "dags_folder"))
    names = ("batch_inference", "sagemaker_jobs", "batch_inference.dag.scoring_dag")
    found = {
        "airflow": airflow.__version__,
        "dags": {dag_id: sorted(dag.task_ids) for dag_id, dag in bag.dags.items()},
        "import_errors": bag.import_errors,
        "plugins": sorted(plugin["name"] for plugin in plugins_manager.get_plugin_info(["name"])),
        "plugin_errors": getattr(
            plugins_manager, "get_import_errors", lambda: plugins_manager.import_errors
        )(),
        "files": {name: importlib.import_module(name).__file__ for name in names},
    }
    sys.stdout.write("\n" + json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
