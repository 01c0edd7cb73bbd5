"""Run one DAG of the DAGs folder once, in this process; prints its run as a JSON line. Executed by a cell's Python."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from sagemaker_jobs.airflow_compat import load_dag_bag


def main() -> None:
    """Run the DAG named by the argument; exits with the import errors where there are any."""
    folder = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    bag = load_dag_bag(folder, bundle_path=folder)
    if bag.import_errors:
        sys.exit(f"import errors: {bag.import_errors}")
    run = bag.dags[sys.argv[1]].test()
    print(json.dumps({"state": str(run.state), "run_id": run.run_id, "dags": sorted(bag.dags)}))


if __name__ == "__main__":
    main()
