"""`make bench-parse`: what parsing costs, for one DAG file that builds the DAGs of 1, 200 and 1,000 pipelines.

The pipelines are in 20 folders, teams, each with defaults; `broken` is all of them again when one file is wrong. `task`
is what the DAG file costs in the process of a task, which reads the file of its own pipeline only.

Each count is measured in a process of its own: the import of the package on top of Airflow and of the modules that its
operators inherit from, then the DAGs. In the same process as many plain DAGs are built, each a chain of as many stock
operators, without params and requests: the ratio to these holds on any machine. Seconds are of CPU.

Then the start of one task, as a whole process from Python's start to the task that Airflow's task runner would execute,
with 1 and with 200 pipelines in turns: medians of CPU and of wall time.
"""

from __future__ import annotations

import importlib
import itertools
import json
import logging
import os
import resource
import runpy
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
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
TEAM_COUNT = 20
TASK_START_COUNTS, TASK_STARTS = (1, 200), 7
#: The DAG file of a company with many pipelines; the folder is a temporary one here.
DAG_FILE = """
from batch_inference import pipeline_dags
globals().update(pipeline_dags({folder!r}))
"""
#: The id by which Airflow tells the DAG file of a task's process which DAG it needs.
TASK_DAG_ID = "_AIRFLOW_PARSING_CONTEXT_DAG_ID"


class ParseCost(TypedDict):
    """CPU seconds of imports and of building DAGs, and the most memory in megabytes."""

    base_import: float
    own_import: float
    first_dag: float
    dags: float
    broken: float
    task: float
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
        pipelines, dag_file = Path(folder) / "pipelines", Path(folder) / "dags.py"
        write_pipelines(pipelines, 1)
        dag_file.write_text(DAG_FILE.format(folder=str(pipelines)))
        runpy.run_path(str(dag_file))
        after_first = time.process_time()
        write_pipelines(pipelines, pipeline_count)
        before_all = time.process_time()
        parsed = runpy.run_path(str(dag_file))
        after_all = time.process_time()
        tasks = parsed[build_id(0)].tasks
        (pipelines / f"{build_id(pipeline_count - 1).replace('.', '/')}.yaml").write_text("name: [")
        before_broken = time.process_time()
        runpy.run_path(str(dag_file))
        after_broken = time.process_time()
        os.environ[TASK_DAG_ID] = build_id(0)
        write_pipelines(pipelines, 1)  # read anew, as in a new process
        after_write = time.process_time()
        of_task = runpy.run_path(str(dag_file))
        after_task = time.process_time()
        del os.environ[TASK_DAG_ID]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    before_stock = time.process_time()
    stock_dags = [build_stock_dag(f"stock{number:04}", tasks) for number in range(pipeline_count)]
    after_stock = time.process_time()
    assert sum(name.startswith("team") for name in parsed) == pipeline_count
    assert [name for name in of_task if name.startswith("team")] == [build_id(0)]
    assert len(stock_dags[-1].tasks) == len(tasks)
    return {
        "base_import": after_base - began,
        "own_import": after_own - after_base,
        "first_dag": after_first - after_own,
        "dags": after_all - before_all,
        "broken": after_broken - before_broken,
        "task": after_task - after_write,
        "stock_dags": after_stock - before_stock,
        "peak_mb": peak,
    }


def start_task() -> None:
    """Do in this process what Airflow's task runner does before it executes the first task of the first pipeline."""
    comms: Any = importlib.import_module("airflow.sdk.execution_time.comms")
    task_runner: Any = importlib.import_module("airflow.sdk.execution_time.task_runner")
    dag_id = os.environ[TASK_DAG_ID]
    details = comms.StartupDetails.model_construct(
        ti=comms.TaskInstance.model_construct(dag_id=dag_id, task_id="plan", run_id="manual", try_number=1),
        dag_rel_path="dags.py",
        bundle_info=comms.BundleInfo(name="dags-folder"),
        ti_context=comms.TIRunContext.model_construct(max_tries=0),
        start_date=datetime.now(UTC),
        sentry_integration="",
    )
    instance = task_runner.parse(details, logging.getLogger(__name__))
    assert (instance.task.dag_id, instance.task.task_id) == (dag_id, "plan")


def measure_task_starts(environment: dict[str, str]) -> dict[int, tuple[float, float]]:
    """Seconds of CPU and of wall time that a task's process takes to start, by the number of pipelines."""
    took: dict[int, list[tuple[float, float]]] = {count: [] for count in TASK_START_COUNTS}
    with tempfile.TemporaryDirectory() as folder:
        for count in TASK_START_COUNTS:
            pipelines = Path(folder) / str(count) / "pipelines"
            write_pipelines(pipelines, count)
            (pipelines.parent / "dags.py").write_text(DAG_FILE.format(folder=str(pipelines)))
        for _, count in itertools.product(range(TASK_STARTS + 1), TASK_START_COUNTS):
            own = {"AIRFLOW__CORE__DAGS_FOLDER": str(Path(folder) / str(count)), TASK_DAG_ID: build_id(0)}
            command = [sys.executable, "-m", "tools.benchmarks.parse", "--task"]
            before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
            subprocess.run(command, check=True, capture_output=True, env={**environment, **own})
            wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            took[count].append((cpu, wall))
    # The first of each fills the caches of the disk.
    return {
        count: (median(cpu for cpu, _ in each[1:]), median(wall for _, wall in each[1:]))
        for count, each in took.items()
    }


def build_id(number: int) -> str:
    """The id of a pipeline: its team and its name."""
    return f"team{number % TEAM_COUNT:02}.pipeline{number:04}"


def write_pipelines(folder: Path, count: int) -> None:
    """Write so many pipeline files: the sample's, each with a name of its own, below teams with defaults."""
    sample = (REPO / "include/pipelines/abalone.yaml").read_text()
    for number in range(count):
        team, name = build_id(number).split(".")
        (folder / team).mkdir(parents=True, exist_ok=True)
        (folder / team / "_defaults.yaml").write_text(f"owner: {team}\ntags:\n  team: {team}\n")
        (folder / team / f"{name}.yaml").write_text(sample.replace("name: abalone", f"name: {name}", 1))


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
    if sys.argv[1:] == ["--task"]:
        logging.disable()
        start_task()
        return 0
    if sys.argv[1:2] == ["--one"]:
        logging.disable()
        print(json.dumps(measure_parsing(int(sys.argv[2]))))
        return 0
    counts = [int(argument) for argument in sys.argv[1:]] or list(PIPELINE_COUNTS)
    print(
        "CPU time; imports are on top of those of Airflow and the provider; a stock DAG has as many tasks\n"
    )
    columns = (
        "pipelines",
        "base",
        "import",
        "first",
        "each DAG",
        "stock",
        "ratio",
        "all DAGs",
        "broken",
        "task",
        "memory",
    )
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
                f"  {cost['dags']:7.2f} s  {cost['broken']:7.2f} s  {cost['task'] * 1e3:6.0f} ms"
                f"  {cost['peak_mb']:6.0f} MB",
                flush=True,
            )
        print(f"\nstart of one task, the whole process: medians of {TASK_STARTS}, in turns\n")
        for count, (cpu, wall) in measure_task_starts(environment).items():
            print(f"{count:9,} pipelines  {cpu:5.2f} s of CPU  {wall:5.2f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
