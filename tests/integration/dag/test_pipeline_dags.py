"""One DAG file builds the DAGs of a folder; a wrong file is an import error of its own, and breaks no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import structlog
import yaml
from airflow.dag_processing import processor
from airflow.sdk.execution_time import task_runner

from batch_inference.common.errors import PipelineError
from batch_inference.config.pipeline_files import get_pipelines_folder, load_pipeline_by_id
from sagemaker_jobs.airflow_compat import DagBag
from tests.unit.builders import document

DAG_FILE = (
    "# For Airflow.\nfrom batch_inference import pipeline_dags\nglobals().update(pipeline_dags({folder}))\n"
)
pytestmark = pytest.mark.usefixtures("airflow_db")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A folder of DAG files: two pipelines, one of them a team's, and one that is wrong."""
    files = {"churn": {}, "risk/churn": {"owner": "risk", "dag_tags": ["nightly"]}}
    for name, changes in files.items():
        put(tmp_path / f"pipelines/{name}.yaml", changes)
    put(tmp_path / "pipelines/risk/fraud.yaml", {"name": "fraud", "transform.max_instances": 400})
    (tmp_path / "all.py").write_text(DAG_FILE.format(folder=""))
    return tmp_path


def put(file: Path, changes: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(document(changes), sort_keys=False))


def process(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the DAG processor stores of the DAG file: in the process that it starts, which has a supervisor."""
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", object(), raising=False)
    message = processor.DagFileParseRequest(
        file=str(bundle / "all.py"), bundle_path=bundle, bundle_name="tests", callback_requests=[]
    )
    return processor._parse_file(message, structlog.get_logger())


def test_a_wrong_file_is_an_import_error_of_its_own_and_the_others_have_their_dags(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = process(bundle, monkeypatch)
    assert sorted(each.dag_id for each in result.serialized_dags) == ["churn", "risk.churn"]
    file = bundle / "pipelines/risk/fraud.yaml"
    line = 1 + file.read_text().splitlines().index("  max_instances: 400")
    ((name, text),) = result.import_errors.items()
    assert name == "pipelines/risk/fraud.yaml#risk.fraud"
    assert f'  File "{file}", line {line}\n    max_instances: 400\n' in text
    assert text.strip().endswith(
        f"RefusedFileError: {file}: line {line}, transform.max_instances: found 400; allowed is a number of at most 100"
    )


def test_two_wrong_keys_of_a_matrix_are_two_import_errors(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix = {"eu": {"region": "Europe"}, "us": {}, "asia": {"region": "Asia"}}
    put(bundle / "pipelines/risk/fraud.yaml", {"name": "fraud", "matrix": matrix})
    result = process(bundle, monkeypatch)
    assert sorted(each.dag_id for each in result.serialized_dags) == [
        "churn",
        "risk.churn",
        "risk.fraud.us",
    ]
    assert sorted(result.import_errors) == [
        "pipelines/risk/fraud.yaml#risk.fraud.asia",
        "pipelines/risk/fraud.yaml#risk.fraud.eu",
    ]


def test_files_without_an_id_are_import_errors_too(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(bundle / "pipelines/My Model.yaml", {})
    (bundle / "pipelines/risk/fraud.yaml").unlink()
    result = process(bundle, monkeypatch)
    assert len(result.serialized_dags) == 2
    ((name, text),) = result.import_errors.items()
    assert name == "pipelines/My Model.yaml"
    assert "found a file named 'My Model'; allowed are a-z, 0-9, _ and -" in text


def test_a_file_in_a_wrong_place_takes_no_dag_of_another(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name would be the id of a pipeline that is right."""
    (bundle / "pipelines/risk/fraud.yaml").unlink()
    put(bundle / "pipelines/risk.churn.yaml", {})
    put(bundle / "pipelines/churn.yml", {})
    result = process(bundle, monkeypatch)
    assert sorted(each.dag_id for each in result.serialized_dags) == ["churn", "risk.churn"]
    assert sorted(result.import_errors) == ["pipelines/churn.yml", "pipelines/risk.churn.yaml"]


def test_a_notifier_that_cannot_be_built_is_an_error_of_its_file(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notify = {"notify": {"on_failure": [{"notifier": "no.such.Notifier"}]}}
    put(bundle / "pipelines/risk/fraud.yaml", {"name": "fraud", **notify})
    result = process(bundle, monkeypatch)
    assert len(result.serialized_dags) == 2
    text = result.import_errors["pipelines/risk/fraud.yaml#risk.fraud"]
    assert f"{bundle}/pipelines/risk/fraud.yaml: notify.on_failure[0].notifier: found" in text


def test_a_bundle_may_be_a_link(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As git-sync has it: the folder behind the link has another name with each commit."""
    link = bundle.with_name("link")
    link.symlink_to(bundle)
    result = process(link, monkeypatch)
    assert [*result.import_errors] == ["pipelines/risk/fraud.yaml#risk.fraud"]


def test_a_dag_bag_outside_of_the_dag_processor_knows_the_error(bundle: Path) -> None:
    """As in a test of a company's repository that says `import_errors == {}`."""
    bag = DagBag(dag_folder=str(bundle))
    assert sorted(bag.dags) == ["churn", "risk.churn"]
    assert ["transform.max_instances: found 400" in text for text in bag.import_errors.values()] == [True]


def test_while_a_task_of_another_dag_of_the_file_runs_no_pipeline_is_built(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its id may look like that of a key of a matrix."""
    with (bundle / "all.py").open("a") as file:
        file.write("from airflow.sdk import DAG\nother = DAG('churn.retrain', schedule=None)\n")
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "churn.retrain")
    bag = DagBag(dag_folder=str(bundle))
    assert (sorted(bag.dags), bag.import_errors) == (["churn.retrain"], {})


def test_while_a_task_runs_only_its_own_pipeline_is_read(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that are no YAML stand for files that are not read."""
    for name in ("churn.yaml", "risk/fraud.yaml"):
        (bundle / "pipelines" / name).write_text("{")
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "risk.churn")
    bag = DagBag(dag_folder=str(bundle))
    assert (sorted(bag.dags), bag.import_errors) == (["risk.churn"], {})
    assert get_pipelines_folder("risk.churn") == bundle / "pipelines"
    assert load_pipeline_by_id("risk.churn").name == "risk.churn"
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "janitor")
    assert DagBag(dag_folder=str(bundle)).dags == {}
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "risk.fraud")
    assert "not valid YAML" in str(DagBag(dag_folder=str(bundle)).import_errors)


# Airflow 3.3 says of each `access_control` that the FAB auth manager's permissions move to its provider.
@pytest.mark.filterwarnings("ignore:The airflow.security.permissions module is deprecated")
def test_the_dag_has_the_owner_the_tags_and_the_access_that_the_file_states(bundle: Path) -> None:
    access = {"risk": {"DAGs": ["can_read", "can_edit"], "DAG Runs": ["can_create"]}}
    put(bundle / "pipelines/risk/fraud.yaml", {"name": "fraud", "access_control": access})
    dags = DagBag(dag_folder=str(bundle)).dags
    assert {task.owner for task in dags["risk.churn"].tasks} == {"risk"}
    assert dags["risk.churn"].tags == {"batch inference", "nightly"}
    assert dags["risk.fraud"].access_control == {
        "risk": {"DAGs": {"can_read", "can_edit"}, "DAG Runs": {"can_create"}}
    }
    assert {task.owner for task in dags["churn"].tasks} == {"airflow"}


def test_the_folder_is_that_of_the_argument_or_the_setting_or_beside_the_dag_file(
    bundle: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    put(elsewhere / "of_setting/other.yaml", {"name": "other"})
    put(bundle / "of_argument/another.yaml", {"name": "another"})
    monkeypatch.setenv("AIRFLOW__BATCH_INFERENCE__PIPELINES_FOLDER", str(elsewhere / "of_setting"))
    assert sorted(DagBag(dag_folder=str(bundle)).dags) == ["other"]
    (bundle / "all.py").write_text(DAG_FILE.format(folder='"of_argument"'))
    assert sorted(DagBag(dag_folder=str(bundle)).dags) == ["another"]
    (bundle / "all.py").write_text(DAG_FILE.format(folder='"nowhere"'))
    assert f"{bundle}/nowhere: is no folder; name that of the pipeline files in all.py" in str(
        DagBag(dag_folder=str(bundle)).import_errors
    )


def test_a_dag_file_of_one_pipeline_works_as_well(bundle: Path) -> None:
    (bundle / "all.py").write_text(
        "# For Airflow.\nfrom batch_inference import build_scoring_dag\ndag = build_scoring_dag('risk.churn')\n"
    )
    bag = DagBag(dag_folder=str(bundle))
    assert (sorted(bag.dags), bag.import_errors) == (["risk.churn"], {})
    with pytest.raises(PipelineError, match=r"found no pipeline 'risk\.chrun'"):
        load_pipeline_by_id("risk.chrun", bundle / "pipelines")
