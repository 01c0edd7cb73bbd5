"""Names that moved between Airflow's versions are imported from one module, and it finds each of them."""

from __future__ import annotations

import ast
import asyncio
from pathlib import Path

import pytest

from sagemaker_jobs import airflow_compat

REPO = Path(__file__).resolve().parents[3]
FOLDERS = ("dags", "include", "plugins", "tools")
OF_APPROVAL = ("ApprovalOperator", "CreateHITLDetailPayload", "HITLRejectException")


def find_direct_imports(source: str) -> list[str]:
    """The imports in `source` of names that airflow_compat has, from Airflow or SQLAlchemy itself."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.ImportFrom)
            and node.module
            and node.module.split(".")[0] in ("airflow", "sqlalchemy")
        ):
            names = [each.name for each in node.names if each.name in airflow_compat.__all__]
            found += [f"line {node.lineno}: {name} from {node.module}" for name in names]
    return found


def test_only_the_compatibility_module_imports_names_that_moved():
    files = [path for folder in FOLDERS for path in (REPO / folder).rglob("*.py")]
    found = {str(path.relative_to(REPO)): find_direct_imports(path.read_text()) for path in files}
    del found["plugins/sagemaker_jobs/airflow_compat.py"]
    assert {path: imports for path, imports in found.items() if imports} == {}


def test_a_direct_import_is_found():
    source = "from airflow.sdk import BaseHook, Context\nfrom sqlalchemy import Select"
    assert find_direct_imports(source) == [
        "line 1: BaseHook from airflow.sdk",
        "line 2: Select from sqlalchemy",
    ]


@pytest.mark.parametrize("name", airflow_compat.__all__)
def test_every_name_is_found(name):
    if name in OF_APPROVAL and not airflow_compat.has_feature("approval"):
        pytest.skip("Airflow 3.0 has no approval")
    assert getattr(airflow_compat, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="NoSuchName"):
        airflow_compat.NoSuchName  # noqa: B018


@pytest.mark.parametrize(
    ("version", "is_there"), [((3, 0, 6), False), ((3, 1, 0), True), ((3, 3, 2), True), ((4, 0, 0), True)]
)
def test_a_feature_is_there_from_its_version_on(monkeypatch, version, is_there):
    monkeypatch.setattr(airflow_compat, "AIRFLOW_VERSION", version)
    assert airflow_compat.has_feature("approval") is is_there


class Comms:
    """A triggerer's channel to its supervisor before 3.2.2: an answer goes to whoever reads next."""

    _async_reader = None

    loop = None

    def send(self, msg: int) -> int:
        return asyncio.run(self.asend(msg))

    async def asend(self, msg: int) -> int:
        assert asyncio.get_running_loop() is self.loop
        await asyncio.sleep(0)
        return msg * 2


@pytest.mark.parametrize(
    ("version", "is_patched"), [((3, 0, 6), True), ((3, 2, 1), True), ((3, 2, 2), False)]
)
def test_before_3_2_2_threads_ask_the_supervisor_on_the_event_loop(monkeypatch, version, is_patched):
    comms_class = type("Comms", (Comms,), {"send": Comms.send})
    comms = comms_class()
    monkeypatch.setattr(airflow_compat, "AIRFLOW_VERSION", version)
    monkeypatch.setattr("airflow.sdk.execution_time.task_runner.SUPERVISOR_COMMS", comms, raising=False)

    async def ask_in_threads() -> list[int]:
        comms.loop = asyncio.get_running_loop()
        for _ in range(3):
            airflow_compat.let_threads_ask_supervisor()
        return await asyncio.gather(*(asyncio.to_thread(comms.send, number) for number in range(20)))

    if is_patched:
        assert asyncio.run(ask_in_threads()) == [number * 2 for number in range(20)]
    else:
        with pytest.raises(AssertionError):
            asyncio.run(ask_in_threads())
