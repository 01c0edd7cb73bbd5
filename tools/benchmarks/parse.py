"""`make bench-parse`: what parsing costs, for one DAG file that builds the DAGs of 1, 200 and 1,000 pipelines.

Each count is measured in a process of its own: the import of the package on top of Airflow and of the modules that its
operators inherit from, then the DAGs. In the same process as many plain DAGs are built, each a chain of as many stock
operators, without params and requests: the ratio to these holds on any machine. Seconds are of CPU.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import resource
import runpy
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, TypedDict

from tools.checkout import REPO

#: Airflow, and the modules that define the base classes of the package's operators: any DAG of their kind imports them.
BASE_MODULES = (
    "airflow.sdk",
    "airflow.providers.standard.operators.hitl",
    "airflow.providers.standard.operators.python",
    "airflow.providers.amazon.aws.operators.sagemaker",
    "airflow.providers.amazon.aws.sensors.sagemaker",
)
PIPELINE_COUNTS = (1, 200, 1_000)
#: The DAG file of a company with many pipelines; the folder is a temporary one here.
DAG_FILE = """
from pathlib import Path
from batch_inference import build_scoring_dag
from batch_inference.config import pipeline_files

pipeline_files.PIPELINES_FOLDER = Path({folder!r})
for path in sorted(pipeline_files.PIPELINES_FOLDER.glob("*.yaml")):
    globals()[path.stem] = build_scoring_dag(path.stem)
"""


class ParseCost(TypedDict):
    """CPU seconds of imports and of building DAGs, and the most memory in megabytes."""

    base_import: float
    own_import: float
    first_dag: float
    dags: float
    stock_dags: float
    peak_mb: float


def measure_parsing(pipeline_count: int) -> ParseCost:
    """Parse a DAG file of so many pipelines, in this process."""
    began = time.process_time()
    for module in BASE_MODULES:
        importlib.import_module(module)
    after_base = time.process_time()
    importlib.import_module("batch_inference.dag.scoring_dag")
    after_own = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        write_pipelines(Path(folder), 1)
        dag_file = Path(folder) / "pipelines.py"
        dag_file.write_text(DAG_FILE.format(folder=folder))
        runpy.run_path(str(dag_file))
        after_first = time.process_time()
        write_pipelines(Path(folder), pipeline_count)
        before_all = time.process_time()
        parsed = runpy.run_path(str(dag_file))
        after_all = time.process_time()
        tasks = parsed["pipeline0000"].tasks
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    before_stock = time.process_time()
    stock_dags = [build_stock_dag(f"stock{number:04}", tasks) for number in range(pipeline_count)]
    after_stock = time.process_time()
    assert [name for name in parsed if name.startswith("pipeline0")][-1] == f"pipeline{pipeline_count - 1:04}"
    assert len(stock_dags[-1].tasks) == len(tasks)
    return {
        "base_import": after_base - began,
        "own_import": after_own - after_base,
        "first_dag": after_first - after_own,
        "dags": after_all - before_all,
        "stock_dags": after_stock - before_stock,
        "peak_mb": peak,
    }


def write_pipelines(folder: Path, count: int) -> None:
    """Write so many pipeline files: the sample's, each with a name of its own."""
    sample = (REPO / "include/pipelines/abalone.yaml").read_text()
    for number in range(count):
        name = f"pipeline{number:04}"
        (folder / f"{name}.yaml").write_text(sample.replace("name: abalone\n", f"name: {name}\n", 1))


def build_stock_dag(dag_id: str, tasks: Any) -> Any:
    """A plain DAG with one stock operator for each of `tasks`, in a chain."""
    from airflow.providers.amazon.aws.operators import sagemaker as operators
    from airflow.providers.amazon.aws.sensors import sagemaker as sensors
    from airflow.sdk import DAG, chain

    arguments: dict[Any, dict[str, Any]] = {
        operators.SageMakerProcessingOperator: {"config": {}},
        operators.SageMakerTransformOperator: {"config": {}},
        sensors.SageMakerProcessingSensor: {"job_name": "job"},
        sensors.SageMakerTransformSensor: {"job_name": "job"},
    }
    with DAG(dag_id, schedule="0 2 * * *", catchup=False) as dag:
        chain(*(_build_stock_task(task, arguments) for task in tasks))
    return dag


def _build_stock_task(task: Any, arguments: dict[Any, dict[str, Any]]) -> Any:
    from airflow.providers.standard.operators.python import PythonOperator

    for kind, given in arguments.items():
        if isinstance(task, kind):
            return kind(task_id=task.task_id, **given)
    return PythonOperator(task_id=task.task_id, python_callable=print)


def main() -> int:
    """Measure the counts of the command line, or the default ones, each in a process; print a table."""
    if sys.argv[1:2] == ["--one"]:
        logging.disable()
        print(json.dumps(measure_parsing(int(sys.argv[2]))))
        return 0
    counts = [int(argument) for argument in sys.argv[1:]] or list(PIPELINE_COUNTS)
    print(
        "CPU time; imports are on top of those of Airflow and the provider; a stock DAG has as many tasks\n"
    )
    columns = ("pipelines", "base", "import", "first", "each DAG", "stock", "ratio", "all DAGs", "memory")
    print("  ".join(f"{column:>9}" for column in columns))
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "AIRFLOW_HOME": home, "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
        for count in counts:
            command = [sys.executable, "-m", "tools.benchmarks.parse", "--one", str(count)]
            done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
            cost: ParseCost = json.loads(done.stdout.splitlines()[-1])
            own, stock = cost["dags"] / count, cost["stock_dags"] / count
            print(
                f"{count:9,}  {cost['base_import']:7.2f} s  {cost['own_import']:7.2f} s"
                f"  {cost['first_dag'] * 1e3:6.0f} ms  {own * 1e3:6.1f} ms  {stock * 1e3:6.1f} ms  {own / stock:9.2f}"
                f"  {cost['dags']:7.2f} s  {cost['peak_mb']:6.0f} MB",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
