"""docker-compose.yaml, its Dockerfile and its .env: every name in them is that of something that exists."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import re
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cryptography.fernet import Fernet
from jsonschema.validators import validator_for

from deploy.env import VALUE_GENERATORS, fill_template, write_env
from tests.deploy.compose import (
    COMPOSE_FILE,
    DOCKERFILE,
    UnsetError,
    dockerfile_instructions,
    interpolate,
    iter_variables,
    read_compose_file,
    read_env,
    render_compose,
)
from tools.checkout import REPO

AIRFLOW_SERVICES = {
    "airflow-apiserver": ["api-server"],
    "airflow-scheduler": ["scheduler"],
    "airflow-dag-processor": ["dag-processor"],
    "airflow-triggerer": ["triggerer"],
    "airflow-worker": ["celery", "worker"],
}
SECRETS = {
    "POSTGRES_PASSWORD", "REDIS_PASSWORD", "AIRFLOW_FERNET_KEY", "AIRFLOW_JWT_SECRET", "AIRFLOW_API_SECRET_KEY",
    "AIRFLOW_ADMIN_PASSWORD", "AIRFLOW_CONN_AWS_DEFAULT",
}  # fmt: skip


@pytest.fixture(scope="module")
def services(variables: dict[str, str]) -> dict[str, Any]:
    """The services as docker compose starts them."""
    found: dict[str, Any] = render_compose(variables)["services"]
    return found


def test_the_file_is_valid_by_the_schema_of_the_compose_specification(variables: dict[str, str]) -> None:
    """Before variables are filled in, and after."""
    package = resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    schema = json.loads(package.read_text())
    validator = validator_for(schema)(schema)
    for document in (read_compose_file(), render_compose(variables)):
        assert [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)] == []
    wrong = {"services": {"one": {"image": "a", "comand": "b"}}}
    assert not validator.is_valid(wrong)


def test_it_has_the_services_of_airflows_own_compose_file(services: dict[str, Any]) -> None:
    """Those of the executor with Celery, and the embedded AWS behind a profile."""
    assert set(services) == {"postgres", "redis", "airflow-init", "local-aws", *AIRFLOW_SERVICES}
    assert {name: services[name]["command"] for name in AIRFLOW_SERVICES} == AIRFLOW_SERVICES
    assert {name: each["profiles"] for name, each in services.items() if "profiles" in each} == {
        "local-aws": ["local"]
    }


def test_every_airflow_command_exists(services: dict[str, Any]) -> None:
    """Asked of the parser of the installed Airflow; `celery` is the provider's, which the end-to-end test runs."""
    from airflow.cli.cli_parser import airflow_commands

    known = {command.name for command in airflow_commands}
    assert {service["command"][0] for name, service in services.items() if name in AIRFLOW_SERVICES} <= {
        *known,
        "celery",
    }
    assert "celery" in read_compose_file()["services"]["airflow-worker"]["command"]


def test_no_secret_has_a_default() -> None:
    """Each is demanded with a message that says how to make it; nothing else looks like a secret."""
    text = COMPOSE_FILE.read_text()
    forms: dict[str, set[str | None]] = {}
    for name, kind in iter_variables(
        "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    ):
        forms.setdefault(name, set()).add(kind)
    assert {name for name, kinds in forms.items() if kinds == {"?"}} == {*SECRETS, "AIRFLOW_NAME"}
    assert {name for name, kinds in forms.items() if kinds != {"?"}} == {
        "AIRFLOW_UID", "AIRFLOW_PORT", "LOCAL_AWS_PORT", "AIRFLOW_WORKERS", "AIRFLOW_WORKER_CONCURRENCY",
        "AIRFLOW_ADMIN_USER", "AIRFLOW_BASE_URL",
    }  # fmt: skip
    for name, value in environment_entries(read_compose_file()):
        if re.search(r"PASSWORD|SECRET|_KEY$|CONN|AUTH$|BROKER|BACKEND", name) and "AUTH_MANAGER" not in name:
            assert ":?" in value, f"{name} is {value!r}"


def environment_entries(document: dict[str, Any]) -> list[tuple[str, str]]:
    """Every variable of every service."""
    return [
        (name, value)
        for service in document["services"].values()
        for name, value in service.get("environment", {}).items()
    ]


@pytest.mark.parametrize("missing", sorted(SECRETS))
def test_nothing_starts_while_a_secret_is_missing(variables: dict[str, str], missing: str) -> None:
    """The message names the command that makes secrets."""
    for value in (None, ""):
        lacking = {name: each for name, each in variables.items() if name != missing}
        if value is not None:
            lacking[missing] = value
        with pytest.raises(UnsetError, match=rf"{missing}: run python3 deploy/env.py"):
            render_compose(lacking)


def test_env_file_has_secrets_of_its_own_and_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    """Two of them share no secret and no name, and one that exists is never replaced."""
    envs = []
    for name in ("one", "two"):
        target = tmp_path / name
        write_env(REPO / ".env.example", target)
        assert target.stat().st_mode & 0o777 == 0o600
        envs.append(read_env(target))
    made = SECRETS - {"AIRFLOW_CONN_AWS_DEFAULT"}
    assert {*made, "AIRFLOW_NAME"} == {name for name in envs[0] if envs[0][name] != envs[1][name]}
    assert len({env[name] for env in envs for name in made}) == 2 * len(made)
    for env in envs:
        Fernet(env["AIRFLOW_FERNET_KEY"].encode())
        for name in made - {"AIRFLOW_FERNET_KEY"}:
            assert re.fullmatch(r"[0-9a-f]{64}", env[name])
    before = (tmp_path / "one").read_bytes()
    with pytest.raises(FileExistsError):
        write_env(REPO / ".env.example", tmp_path / "one")
    assert (tmp_path / "one").read_bytes() == before


def test_env_example_holds_no_secret_and_only_variables_that_the_file_uses(variables: dict[str, str]) -> None:
    """Variables in comments too; compose's own COMPOSE_PROFILES is the exception."""
    example = (REPO / ".env.example").read_text()
    named = set(re.findall(r"^#? ?([A-Z_]+)=", example, flags=re.MULTILINE))
    used = {name for name, _ in iter_variables(COMPOSE_FILE.read_text())}
    assert named == {*used, "COMPOSE_PROFILES"}
    assert (SECRETS - {"AIRFLOW_CONN_AWS_DEFAULT"}) | {"AIRFLOW_NAME"} == {
        line.partition("=")[0]
        for line in example.splitlines()
        if line.endswith(tuple(f"=<{kind}>" for kind in VALUE_GENERATORS))
    }
    assert variables["COMPOSE_PROFILES"] == "local"
    assert "<" not in "".join(variables.values())


def test_env_file_never_leaves_this_machine() -> None:
    """Git does not take it up, and the engine is not sent it."""
    assert ".env" in (REPO / ".gitignore").read_text().splitlines()
    assert "!.env" not in (REPO / ".dockerignore").read_text()


def test_env_script_needs_no_installed_package(tmp_path: Path) -> None:
    """It runs with a bare Python, before anything is installed."""
    for name in ("deploy", ".env.example"):
        source = REPO / name
        target = tmp_path / name
        if source.is_dir():
            target.mkdir()
            (target / "env.py").write_bytes((source / "env.py").read_bytes())
        else:
            target.write_bytes(source.read_bytes())
    command = [sys.executable, "-I", "-S", str(tmp_path / "deploy" / "env.py")]
    first = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (first.returncode, first.stderr) == (0, "")
    assert set(read_env(tmp_path / ".env")) >= SECRETS
    second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert second.returncode == 1
    assert "already exists and is kept" in second.stderr


def test_connection_of_the_example_is_the_embedded_aws_of_the_profile(
    variables: dict[str, str], services: dict[str, Any]
) -> None:
    """Its endpoint is the service, at the port that the service listens on and under the name that it answers to."""
    connection = json.loads(variables["AIRFLOW_CONN_AWS_DEFAULT"])
    command = services["local-aws"]["command"]
    port = command[command.index("--port") + 1]
    assert connection["extra"]["endpoint_url"] == f"http://local-aws:{port}"
    assert command[command.index("--host-name") + 1] == urlsplit(connection["extra"]["endpoint_url"]).hostname
    assert connection["conn_type"] == "aws"
    assert services["local-aws"]["ports"] == [f"127.0.0.1:5600:{port}"]


def test_every_mounted_file_exists_and_code_is_mounted_read_only(services: dict[str, Any]) -> None:
    """What is not a path of this repository is a named volume of the file."""
    volumes = read_compose_file()["volumes"]
    paths = set()
    for service in services.values():
        for mount in service.get("volumes", ()):
            source, target, *mode = mount.split(":")
            assert target.startswith("/")
            if source.startswith("./"):
                paths.add(source)
                assert (REPO / source).exists(), source
                assert mode == ["ro"], mount
            else:
                assert source in volumes, mount
    code = {"./dags", "./plugins", "./include", "./local_aws", "./deploy"}
    assert paths == {*code, "./deploy/init.sh"}
    used = {m.split(":")[0] for s in services.values() for m in s.get("volumes", ())}
    assert set(volumes) <= used


def test_airflow_finds_the_mounted_code(services: dict[str, Any]) -> None:
    """dags/ and plugins/ lie where Airflow looks by default, and PYTHONPATH leads to include/ and the plugins."""
    for name in AIRFLOW_SERVICES:
        targets = {mount.split(":")[1] for mount in services[name]["volumes"]}
        assert {"/opt/airflow/dags", "/opt/airflow/plugins", "/opt/airflow/include"} <= targets
        assert services[name]["environment"]["PYTHONPATH"] == "/opt/airflow/include:/opt/airflow/plugins"


def test_every_port_is_published_on_loopback_only(services: dict[str, Any]) -> None:
    """Nobody else on the network reaches anything."""
    ports = [port for service in services.values() for port in service.get("ports", ())]
    assert len(ports) == 2
    assert all(str(port).startswith("127.0.0.1:") for port in ports)


def test_every_service_that_stays_has_a_health_check(services: dict[str, Any]) -> None:
    """`airflow-init` ends by itself, and the others wait for its success."""
    assert {name for name, service in services.items() if "healthcheck" not in service} == {"airflow-init"}
    for name in AIRFLOW_SERVICES:
        assert services[name]["depends_on"]["airflow-init"] == {"condition": "service_completed_successfully"}
    for name, service in services.items():
        assert set(service.get("depends_on", {})) <= set(services) - {name}


def test_every_airflow_variable_is_an_option_of_the_installed_airflow(services: dict[str, Any]) -> None:
    """Section and option are looked up in Airflow's configuration, with the providers' sections."""
    from airflow.configuration import conf

    known = {
        (section.upper(), option.upper())
        for section, content in conf.configuration_description.items()
        for option in content["options"]
    }
    # The provider of Celery is not among a laptop's packages; the end-to-end test looks these up in the image's.
    provider = {"CELERY": {"RESULT_BACKEND", "BROKER_URL", "WORKER_CONCURRENCY"}}
    known |= {(section, option) for section, options in provider.items() for option in options}
    checked = 0
    for name in AIRFLOW_SERVICES:
        for variable in services[name]["environment"]:
            if variable.startswith("AIRFLOW__"):
                _, section, option = variable.split("__", 2)
                assert (section, option) in known, variable
                checked += 1
    assert checked > 50


def test_airflow_services_share_their_secrets_and_database(services: dict[str, Any]) -> None:
    """Tokens signed by one are read by another."""
    environments = [
        {key: value for key, value in services[name]["environment"].items() if key.startswith("AIRFLOW__")}
        for name in AIRFLOW_SERVICES
    ]
    assert all(environment == environments[0] for environment in environments)


def test_the_images_are_those_of_the_locked_versions() -> None:
    """Airflow and Python of the base images are what the locks, the tests and Airflow's own metadata say."""
    bases = [
        argument.split(" AS ")[0]
        for instruction, argument in dockerfile_instructions()
        if instruction == "FROM"
    ]
    version = importlib.metadata.version("apache-airflow")
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    image = re.fullmatch(r"apache/airflow:slim-([0-9.]+)-python([0-9.]+)", bases[0])
    assert image is not None
    assert image[1] == version
    assert f"Programming Language :: Python :: {image[2]}" in importlib.metadata.metadata(
        "apache-airflow"
    ).get_all("Classifier", [])
    assert bases[1] == f"python:{image[2]}-slim-bookworm"
    # The locks say 3.11 or 3.12; what the tests run on is what the images bring.
    assert image[2] in {"3.11", "3.12"}
    assert python in {"3.11", "3.12"}


def test_every_service_has_its_image_from_the_dockerfile_or_with_a_tag(services: dict[str, Any]) -> None:
    """A build names a target that exists; what is not built names a version."""
    targets = {
        argument.split(" AS ")[1]
        for instruction, argument in dockerfile_instructions()
        if instruction == "FROM"
    }
    built = set()
    for service in services.values():
        if "build" in service:
            assert REPO / service["build"]["dockerfile"] == DOCKERFILE
            assert service["build"]["context"] == "."
            built.add(service["build"]["target"])
            assert service["image"] == f"batch-inference-{service['build']['target']}"
        else:
            assert re.fullmatch(r"[a-z]+:\d+(\.\d+)?(-\w+)?", service["image"])
    assert built == targets


def test_every_copied_file_exists_and_is_not_ignored() -> None:
    """.dockerignore hides everything but the files that the Dockerfile copies."""
    copied = {
        argument.split()[0] for instruction, argument in dockerfile_instructions() if instruction == "COPY"
    }
    assert all((REPO / name).is_file() for name in copied)
    lines = [line for line in (REPO / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    assert {line.removeprefix("!") for line in lines[1:]} == copied
    assert all(line.startswith("!") for line in lines[1:])


def test_what_the_services_run_exists(services: dict[str, Any]) -> None:
    """The init script and the module of the embedded AWS."""
    mounts = dict(reversed(mount.split(":")[:2]) for mount in services["airflow-init"]["volumes"])
    program, script = services["airflow-init"]["command"]
    assert program == "bash"
    assert (REPO / mounts[script]).is_file()
    assert subprocess.run(["bash", "-n", str(REPO / mounts[script])], check=False).returncode == 0
    python, flag, module, *_ = services["local-aws"]["command"]
    assert (python, flag) == ("python", "-m")
    assert importlib.util.find_spec(module) is not None


def test_image_lock_agrees_with_the_lock_of_the_package() -> None:
    """The image holds every package of requirements.txt in the same version, and Celery's and PostgreSQL's with it."""
    ours, image = (locked(REPO / name) for name in ("requirements.txt", "deploy/requirements.txt"))
    assert {line for line in ours if line not in image} == set()
    more = {line.split("==")[0] for line in image - ours}
    assert {
        "celery", "redis", "psycopg2-binary", "asyncpg", "apache-airflow-providers-celery",
        "apache-airflow-providers-fab", "apache-airflow-providers-postgres",
    } <= more  # fmt: skip


def locked(path: Path) -> set[str]:
    """The `name==version` of each line of a lock that is not for Windows."""
    lines = path.read_text().splitlines()
    return {line.split()[0] for line in lines if line[:1].isalnum() and "== 'win32'" not in line}


def test_interpolation_reads_what_compose_reads() -> None:
    """A dollar, a default, a value; a lone dollar is refused rather than guessed at."""
    assert interpolate("$${HOME} ${A:-x} ${B:-y}", {"B": "b"}) == "${HOME} x b"
    assert interpolate("${A:-http://h:${B:-1}/}!", {"B": "2"}) == "http://h:2/!"
    assert list(iter_variables("${A:-http://h:${B:-1}/}")) == [("A", "-"), ("B", "-")]
    assert fill_template("A=<secret>\n# B=<secret>\n") != "A=<secret>\n# B=<secret>\n"
    with pytest.raises(ValueError, match="lone"):
        interpolate("$HOME", {})
