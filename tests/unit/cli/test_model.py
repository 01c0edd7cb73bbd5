"""`batch-inference model` and `upload`, against moto."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import click
import joblib
import pandas
import pytest
from moto import mock_aws
from sklearn.linear_model import LinearRegression

from batch_inference.cli.main import main
from batch_inference.cli.models.model import (
    check_modules,
    compare_features,
    find_container,
    find_text_features,
)
from batch_inference.config.pipeline_files import load_pipeline_by_id
from batch_inference.config.sections.stages import ContainerDefinition
from tests.unit.builders import document, pipeline

WORK = {"uri": "s3://bucket/churn/incoming/date={date}/"}
MODEL = {"containers": [{"image": "xgboost 1.7-1", "model_data": "s3://bucket/churn/model.tar.gz"}]}


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """The bucket of a project's pipeline, `churn`; the working folder is the project."""
    import json

    (tmp_path / "dags" / "pipelines").mkdir(parents=True)
    content = document({"model": MODEL, "region": "eu-central-1"})
    content["input"]["uri"], content["work"] = WORK["uri"], "s3://bucket/work"
    name = content.pop("name")
    (tmp_path / "dags" / "pipelines" / f"{name}.yaml").write_text(json.dumps({"name": name, **content}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    with mock_aws():
        client = boto3.client("s3", region_name="eu-central-1")
        client.create_bucket(
            Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
        )
        yield client


def list_keys(client: Any) -> list[str]:
    return [entry["Key"] for entry in client.list_objects_v2(Bucket="bucket").get("Contents", ())]


def test_a_folder_goes_to_where_the_pipeline_reads_its_input(s3: Any, tmp_path: Path) -> None:
    (tmp_path / "in" / "part=1").mkdir(parents=True)
    (tmp_path / "in" / "part=1" / "a.csv").write_text("1")
    assert main(["upload", "in", "--date", "2026-01-31"]) == 0
    assert list_keys(s3) == ["churn/incoming/date=2026-01-31/part=1/a.csv"]
    assert main(["upload", "in/part=1/a.csv", "s3://bucket/elsewhere"]) == 0
    assert "elsewhere/a.csv" in list_keys(s3)
    assert main(["upload", "in", "bucket/elsewhere"]) == 2
    assert main(["upload", "in", "--date", "31.1.2026"]) == 2


def test_a_model_goes_to_where_the_pipeline_reads_it(
    s3: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "booster.json").write_text("{}")
    assert main(["model", "churn", "booster.json"]) == 0
    assert list_keys(s3) == ["churn/model.tar.gz"]
    assert "xgboost-model, which the image loads itself" in capsys.readouterr().out
    assert main(["model", "churn"]) == 2
    assert "name the model" in capsys.readouterr().err
    assert main(["model", "churn", "nothing.json"]) == 2
    assert "model: nothing.json does not exist" in capsys.readouterr().err


def test_versions_of_a_group_are_registered_and_listed(
    s3: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "booster.ubj").write_text("x")
    assert main(["model", "churn", "booster.ubj", "--group", "risk-churn"]) == 0
    assert main(["model", "churn", "booster.ubj", "--group", "risk-churn", "--approve"]) == 0
    versions = boto3.client("sagemaker", region_name="eu-central-1")
    found = versions.list_model_packages(ModelPackageGroupName="risk-churn")["ModelPackageSummaryList"]
    assert sorted(each["ModelApprovalStatus"] for each in found) == ["Approved", "PendingManualApproval"]
    package = versions.describe_model_package(ModelPackageName=found[0]["ModelPackageArn"])
    container = package["InferenceSpecification"]["Containers"][0]
    assert container["Image"] == "492215442770.dkr.ecr.eu-central-1.amazonaws.com/sagemaker-xgboost:1.7-1"
    assert container["ModelDataUrl"].removeprefix("s3://bucket/") in list_keys(s3)
    capsys.readouterr()
    assert main(["model", "churn", "--list", "--group", "risk-churn"]) == 0
    assert "Approved" in capsys.readouterr().out
    assert main(["model", "churn", "--list"]) == 2


def test_the_container_that_reads_the_archive_is_the_only_one_or_named() -> None:
    one = pipeline({"model": MODEL})
    assert find_container(one).image == "xgboost 1.7-1"
    with pytest.raises(click.UsageError, match="no container of its model has model_data"):
        find_container(pipeline({"model": {"name": "existing"}}))
    two = pipeline({"model": {"containers": [*MODEL["containers"], *MODEL["containers"]]}})
    with pytest.raises(
        click.UsageError, match="2 of its 2 containers read an archive; name one with --container"
    ):
        find_container(two)
    assert find_container(two, 2).model_data == "s3://bucket/churn/model.tar.gz"


def test_a_module_that_the_embedded_aws_needs_is_named(tmp_path: Path) -> None:
    sklearn = ContainerDefinition(image="sklearn 1.2-1")
    check_modules(sklearn, sys.executable)
    check_modules(ContainerDefinition(image="linear-learner 1"), "/bin/false")
    with pytest.raises(click.ClickException, match=r"served on this machine with sklearn.*\[local\]"):
        check_modules(sklearn, "/bin/false")


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of joblib that was fitted on `age` and `spend`, in this order."""
    file = tmp_path_factory.mktemp("model") / "model.joblib"
    table = pandas.DataFrame({"age": [1.0, 2.0], "spend": [3.0, 5.0]})
    joblib.dump(LinearRegression().fit(table, [0.0, 1.0]), file)
    return file


def compare(fitted: Path, *columns: str) -> str | None:
    numbers = [{"name": name, "type": "float"} for name in dict.fromkeys((*columns, "age", "spend"))]
    changes: dict[str, Any] = {"input.columns": numbers, "features": {"columns": columns}, "model": MODEL}
    sklearn = ContainerDefinition(image="sklearn 1.2-1", model_data="s3://bucket/model.tar.gz")
    return compare_features(pipeline(changes), fitted, sklearn, sys.executable)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (
            ["spend", "age"],
            r'in another order than the pipeline sends them: spend, age; .* columns: \["age", "spend"\]',
        ),
        (
            ["id", "age", "spend"],
            r'on 2 features: age, spend; the pipeline sends 3: .* columns: \["age", "spend"\]',
        ),
    ],
)
def test_features_that_the_model_was_not_fitted_on_are_refused(
    fitted: Path, columns: list[str], said: str
) -> None:
    """The default script takes cells by their position: another order would score without an error."""
    with pytest.raises(click.ClickException, match=said):
        compare(fitted, *columns)


def test_a_new_pipeline_has_the_features_that_the_model_was_fitted_on(
    s3: Any, fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In its order; a column that it wants and the records do not have is named."""
    (tmp_path / "in.csv").write_text("id,spend,age,city\na,1,2,x\nb,3,4,y\n")
    assert main(["new", "fit", "--from", "in.csv", "--model", str(fitted)]) == 0
    said = capsys.readouterr().out
    assert f"run fit --input in.csv --model {fitted} --output scored/" in said
    assert "not in features" not in said
    written = load_pipeline_by_id("fit", tmp_path / "dags" / "pipelines")
    assert written.feature_columns == ("age", "spend")
    (tmp_path / "less.csv").write_text("id,spend\na,1\nb,3\n")
    assert main(["new", "less", "--from", "less.csv", "--model", str(fitted)]) == 2
    assert "was fitted on age, spend; less.csv does not have age" in capsys.readouterr().err
    assert main(["new", "less", "--model", str(fitted)]) == 2


def test_features_that_are_no_numbers_are_text_to_the_default_script() -> None:
    """A boolean is sent as 1 or 0; what a function returns is not known, and taken as numbers."""
    types = ["string", "float", "boolean", "decimal(9,2)", "date", "timestamptz", "integer"]
    columns = [{"name": f"c{at}", "type": each} for at, each in enumerate(types)]
    names = [f"c{at}" for at in range(1, 7)] + ["c0"]
    changes: dict[str, Any] = {"input.columns": columns, "features": {"columns": names}}
    assert find_text_features(pipeline(changes)) == {3: "c4", 4: "c5", 6: "c0"}
    function = {"module": "json", "name": "dumps"}
    assert find_text_features(pipeline({**changes, "function": function})) == {}


def test_features_of_other_names_and_a_file_that_cannot_be_loaded_are_said(
    fitted: Path, tmp_path: Path
) -> None:
    assert compare(fitted, "age", "spend") is None
    assert "fitted on 2 features: age, spend; it gets by position age, cost" in str(
        compare(fitted, "age", "cost")
    )
    (tmp_path / "broken.joblib").write_text("no model")
    assert "could not be loaded" in str(compare(tmp_path / "broken.joblib", "age"))
    (tmp_path / "other.tar.gz").write_text("")
    assert compare(tmp_path / "other.tar.gz", "age") is None


def test_a_pipeline_from_s3_is_run_where_the_records_are(s3: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """In an embedded AWS that runs; those of an account are not on this machine, and a model is in neither."""
    s3.put_object(Bucket="bucket", Key="in/a.csv", Body=b"id,age\na,1\nb,2\n")
    assert main(["new", "score", "--from", "s3://bucket/in/"]) == 0
    said = capsys.readouterr().out
    assert "run score --input FILE --model MODEL_FILE --output scored/" in said
    url = "https://s3.eu-central-1.amazonaws.com"
    assert main(["new", "again", "--from", "s3://bucket/in/", "--endpoint-url", url]) == 0
    reads = f'--endpoint-url {url} --conf \'{{"input_uri": "s3://bucket/in/"}}\''
    assert f"run again {reads} --model MODEL_FILE --output scored/" in capsys.readouterr().out
    assert main(["new", "more", "--from", "nothing.csv"]) == 2
    assert "new: --from nothing.csv does not exist (looked for /" in capsys.readouterr().err
