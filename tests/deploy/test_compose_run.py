"""The compose file's own commands, environment and health checks: PostgreSQL, Redis, two Celery workers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from batch_inference.cli.laptop.airflow_processes import RestApi
from batch_inference.cli.laptop.environment import LaptopError, create_s3_client
from batch_inference.cli.laptop.sample import make_sample
from batch_inference.config.pipeline import load_pipeline
from tests import preloading
from tests.deploy.compose import render_compose
from tests.deploy.containers import ContainerError, Containers
from tests.deploy.image import image_environment
from tests.end_to_end.deployment import Deployment, PasswordApi
from tests.end_to_end.directly import input_lines
from tests.postgres import SYSTEM_PATH, Cluster

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(1800)]

# Enough for three joins of 1 MB, so that both workers have work at the same time.
ROWS = 45_000
NAME = "two_workers"
OUTPUT = "s3://batch-inference-sample/two-workers/"
COMPONENTS = ("airflow-apiserver", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer")
WORKERS = ("one", "two")


class ComposedAirflow:
    """What `Deployment` asks of an Airflow, of the one in the containers."""

    def __init__(self, containers: Containers, api: RestApi) -> None:
        self.api = api
        self.raise_if_dead = containers.raise_if_dead

    def wait_for_dag(self, dag_id: str, *, timeout_seconds: float = 180) -> None:
        """Return when the DAG can be run."""
        deadline = time.monotonic() + timeout_seconds
        while dag_id not in {dag["dag_id"] for dag in self.api.call("GET", "/dags?limit=100")["dags"]}:
            self.raise_if_dead()
            if time.monotonic() > deadline:
                raise LaptopError(f"no DAG {dag_id}: {self.api.call('GET', '/importErrors')}")
            time.sleep(1)


@pytest.fixture(scope="module")
def env(variables: dict[str, str]) -> dict[str, str]:
    """A .env in which each worker runs one task at a time."""
    return {**variables, "AIRFLOW_WORKER_CONCURRENCY": "1"}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample, already made, so that the service does not make its own larger one."""
    folder = tmp_path_factory.mktemp("sample")
    make_sample(folder, rows=ROWS, seed=5)
    return folder


def start_postgres(containers: Containers, environment: Mapping[str, str], state: Path) -> None:
    """A cluster with the account and database that the image makes from its variables."""
    if shutil.which("redis-server") is None:
        raise ContainerError("this test needs Redis (Debian: apt-get install redis-server)")
    cluster = Cluster(
        folder=state,
        port=containers.port["postgres"],
        account=environment["POSTGRES_USER"],
        password=environment["POSTGRES_PASSWORD"],
    )
    cluster.make()
    containers.start("postgres", cluster.path, command=cluster.command, user=cluster.user)
    # The health check asks for the port alone: it passes before the database is made, as it does in the image.
    containers.wait_until_healthy("postgres", more=cluster.client_environment)
    cluster.create_database(environment["POSTGRES_DB"])


@pytest.fixture(scope="module")
def containers(
    env: dict[str, str], sample: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Containers]:
    """Every service of the file, in the order that `depends_on` gives, each healthy by its own health check."""
    services = render_compose(env)["services"]
    state = tmp_path_factory.mktemp("compose-run")
    running = Containers(services, state)
    running.mount()
    pipeline = Path(running.replace_addresses("/opt/airflow/include/pipelines"))
    document = yaml.safe_load((pipeline / "abalone.yaml").read_text())
    document.update(
        name=NAME, schedule=None, output={"uri": OUTPUT}, join={"format": "parquet", "group_mb": 1}
    )
    (pipeline / f"{NAME}.yaml").write_text(yaml.safe_dump(document))
    # Neither is part of what is deployed: tasks would take four times as long without.
    preloading.preload(pipeline.parents[1])
    preloading.copy_local_settings(pipeline.parents[1])
    shutil.copytree(sample, Path(running.replace_addresses("/var/lib/local-aws")) / "sample")
    airflow = f"{image_environment()}:{SYSTEM_PATH}"
    more = {
        **preloading.ENVIRONMENT,
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(running.port["api"]),
        "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT": str(running.port["scheduler"]),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(running.port["triggerer"]),
    }
    with tempfile.TemporaryDirectory(prefix="compose-postgres-") as cluster:
        try:
            start_postgres(running, services["postgres"]["environment"], Path(cluster))
            running.start("redis", SYSTEM_PATH)
            running.start(
                "local-aws", f"{Path(sys.executable).parent}:{SYSTEM_PATH}",
                command=[
                    running.replace_addresses(word).replace("5600", str(running.port["aws"]))
                    for word in [*services["local-aws"]["command"], "--host", "127.0.0.1"]
                ],
            )  # fmt: skip
            running.wait_until_healthy("redis")
            running.run("airflow-init", airflow)
            for component in COMPONENTS:
                running.start(component, airflow, more=more)
            running.wait_until_healthy("airflow-apiserver")
            for worker in WORKERS:
                running.start(
                    "airflow-worker", airflow, as_name=worker, extra=["--celery-hostname", f"celery@{worker}"],
                    more={**more, "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(running.port[worker])},
                )  # fmt: skip
            yield running
        finally:
            running.stop()


@pytest.fixture(scope="module")
def deployment(containers: Containers, env: dict[str, str], sample: Path) -> Deployment:
    """The running Airflow and the embedded AWS beside it."""
    api = PasswordApi(
        f"http://127.0.0.1:{containers.port['api']}", env["AIRFLOW_ADMIN_USER"], env["AIRFLOW_ADMIN_PASSWORD"]
    )
    endpoint = containers.replace_addresses("http://local-aws:5600")
    airflow: Any = ComposedAirflow(containers, api)
    root = Path(containers.replace_addresses("/opt/airflow/dags")).parent
    return Deployment(
        airflow=airflow, s3=create_s3_client(endpoint), root=root, endpoint=endpoint, sample=sample
    )


@pytest.mark.parametrize("service", ["redis", "postgres", "local-aws", *COMPONENTS])
def test_each_service_is_healthy_by_its_own_health_check(containers: Containers, service: str) -> None:
    """The very commands of the compose file."""
    where = {"PGHOST": "127.0.0.1", "PGPORT": str(containers.port["postgres"])}
    containers.wait_until_healthy(service, more=where if service == "postgres" else None)


@pytest.mark.parametrize("worker", WORKERS)
def test_each_worker_answers_to_its_name(containers: Containers, worker: str) -> None:
    """The health check asks the worker of this host; here a host is a name."""
    containers.wait_until_healthy("airflow-worker", as_name=worker, more={"HOSTNAME": worker})


def test_health_checks_notice_what_is_wrong(containers: Containers) -> None:
    """A worker that is not there, a Redis password that is wrong."""
    assert containers.check_health("airflow-worker", as_name="one", more={"HOSTNAME": "three"}) != ""
    assert containers.check_health("redis", more={"REDISCLI_AUTH": "wrong"}) != ""


def test_nobody_comes_in_without_the_password(deployment: Deployment, env: dict[str, str]) -> None:
    """A wrong password and no password are refused."""
    url = f"{deployment.airflow.api.url}/api/v2/dags"
    with pytest.raises(urllib.request.HTTPError, match="401"):
        urllib.request.urlopen(url, timeout=30)
    with pytest.raises(urllib.request.HTTPError, match="401"):
        PasswordApi(deployment.airflow.api.url, env["AIRFLOW_ADMIN_USER"], "airflow").fetch_token()


def test_two_workers_score_the_sample(containers: Containers, deployment: Deployment) -> None:
    """Every record is published or rejected, by tasks that ran on both workers."""
    pipeline = load_pipeline(deployment.root / "include" / "pipelines" / f"{NAME}.yaml")
    deployment.unpause(NAME)
    run_id = deployment.trigger(NAME, {"transform_instance_count": 1})
    state = deployment.wait(NAME, run_id, seconds=900)
    states = deployment.states(NAME, run_id)
    assert (state, set(states.values())) == ("success", {"success"}), states
    assert {"join[0]", "join[1]"} <= set(states)
    published, manifest = deployment.read_published(pipeline.output.uri)
    lines = input_lines(deployment.sample / "data")
    assert manifest["records"]["in"] == len(lines)
    assert (
        len(published)
        == manifest["records"]["scored"]
        == len(lines) - manifest["records"]["rejected"]
        > 40_000
    )
    assert published["predicted_rings"].between(0, 30).mean() > 0.99
    ran = tasks_of_workers(containers)
    assert set(ran) == {f"celery@{worker}" for worker in WORKERS}
    assert all(ran.values()), ran
    # A task that defers is sent to a worker twice.
    assert sum(ran.values()) >= len(states)


def tasks_of_workers(containers: Containers) -> dict[str, int]:
    """How many tasks each worker has taken, by its own count."""
    path = containers.paths["one"]
    application = "airflow.providers.celery.executors.celery_executor.app"
    done = subprocess.run(
        ["celery", "--app", application, "inspect", "stats", "--json", "--timeout", "60", "--destination",
         ",".join(f"celery@{worker}" for worker in WORKERS)],
        env=containers.environment("airflow-worker", path), capture_output=True, text=True, check=True,
    )  # fmt: skip
    stats = json.loads(done.stdout[done.stdout.index("{") :])
    return {worker: sum(each["total"].values()) for worker, each in stats.items()}
