"""The DAG of a pipeline without `preprocess`, as Airflow sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from batch_inference.dag.pipeline_dags import build_scoring_dag
from sagemaker_jobs.airflow_compat import DagSerialization
from tests.unit.builders import WITHOUT_PREPROCESS, document


@pytest.fixture
def dag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, airflow_db: Path) -> Any:
    """The DAG of the valid pipeline without preprocessing."""
    (tmp_path / "churn.yaml").write_text(yaml.safe_dump(document(WITHOUT_PREPROCESS)))
    return build_scoring_dag("churn", folder=tmp_path)


def test_the_model_is_given_the_input_without_a_job_before(dag: Any) -> None:
    order = ["plan"]
    names = [
        "plan", "cut_input", "write_manifests", "transform", "await_transform",
        "join", "checks", "publish", "clean_up",
    ]  # fmt: skip
    while following := dag.get_task(order[-1]).downstream_task_ids:
        order.append(min(following, key=names.index))
    assert order == names
    assert set(dag.task_ids) == set(names)


def test_each_job_is_submitted_and_waited_for_by_a_pair_of_its_own(dag: Any) -> None:
    for name in ("transform", "await_transform"):
        assert dag.get_task(name).get_closest_mapped_task_group().group_id == "transform_jobs"
    assert dag.get_task("join").get_closest_mapped_task_group() is None


def test_each_job_has_its_own_name_and_list_and_all_share_a_model(dag: Any) -> None:
    config = dag.get_task("transform").config["Transform"]
    source = config["TransformInput"]["DataSource"]["S3DataSource"]
    assert source == {
        "S3DataType": "ManifestFile",
        "S3Uri": "{{ pull_xcom(ti, 'write_manifests')[ti.map_index].manifest }}",
    }
    assert config["TransformJobName"] == "{{ job_name(ti, 'transform') }}"


def test_it_is_the_same_each_time_it_is_parsed_and_every_task_says_what_it_is_for(
    dag: Any, tmp_path: Path
) -> None:
    assert DagSerialization.to_dict(dag) == DagSerialization.to_dict(
        build_scoring_dag("churn", folder=tmp_path)
    )
    assert all(dag.get_task(name).doc_md for name in dag.task_ids)
