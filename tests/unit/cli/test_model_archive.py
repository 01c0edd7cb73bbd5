"""A model of one's own, packed as its image finds it."""

from __future__ import annotations

import importlib.util
import io
import tarfile
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from batch_inference.cli.models.model_archive import (
    SCRIPT_ENVIRONMENT,
    ModelArchiveError,
    build_model_archive,
)
from batch_inference.config.sections.stages import ContainerDefinition


def container(image: str = "sklearn 1.2-1", **environment: str) -> ContainerDefinition:
    return ContainerDefinition(
        image=image, model_data="s3://models/model.tar.gz", environment=environment or SCRIPT_ENVIRONMENT
    )


def unpack(data: bytes, folder: Path) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        archive.extractall(folder, filter="data")
        return sorted(archive.getnames())


def load_script(folder: Path) -> Any:
    spec = importlib.util.spec_from_file_location("packed_inference", folder / "code" / "inference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("names", [None, ["a", "b"]])
def test_a_file_of_joblib_is_packed_with_a_script_that_serves_it(
    tmp_path: Path, names: list[str] | None
) -> None:
    features: Any = np.array([[1.0, 2.0], [3.0, 5.0], [0.0, 1.0]])
    model = LinearRegression().fit(
        pandas.DataFrame(features, columns=names) if names else features, [3.0, 8.0, 1.0]
    )
    joblib.dump(model, tmp_path / "my.joblib")
    data, done = build_model_archive(tmp_path / "my.joblib", container())
    assert "with a default code/inference.py, which the image needs" in done
    assert data == build_model_archive(tmp_path / "my.joblib", container())[0]
    assert unpack(data, tmp_path / "out") == ["code/inference.py", "model.joblib"]
    script = load_script(tmp_path / "out")
    served = script.model_fn(str(tmp_path / "out"))
    # One record is a table of one row, and a charset changes nothing.
    one = script.predict_fn(script.input_fn("3,5\n", "text/csv"), served)
    two = script.predict_fn(script.input_fn(b"3,5\n0,1\n", "text/csv; charset=utf-8"), served)
    assert one == pytest.approx([8.0])
    assert two == pytest.approx([8.0, 1.0])
    assert np.isnan(script.input_fn("1,\n", "text/csv")[0, 1])
    with pytest.raises(ValueError, match=r"found the text 'red' in feature 2; .* pack it again"):
        script.input_fn("1,red\n", "text/csv")


@pytest.mark.parametrize("has_names", [True, False])
def test_features_that_are_text_reach_the_model_as_text(tmp_path: Path, has_names: bool) -> None:
    """As pandas read them when the model was fitted: empty cells are NaN in text and in numbers."""
    table = pandas.DataFrame(
        {"segment": ["a, b", "c", None], "age": [1.0, None, 3.0], "city": ["日本", "x", "x"]}
    )
    encode = ColumnTransformer(
        [("text", OneHotEncoder(handle_unknown="ignore"), [0, 2])], remainder="passthrough"
    )
    model = make_pipeline(encode, SimpleImputer(), LinearRegression())
    model.fit(table if has_names else table.to_numpy(), [1.0, 2.0, 5.0])
    joblib.dump(model, tmp_path / "my.joblib")
    data, done = build_model_archive(tmp_path / "my.joblib", container(), {0: "segment", 2: "city"})
    assert "reads CSV of numbers (text in segment, city)" in done
    unpack(data, tmp_path / "out")
    script = load_script(tmp_path / "out")
    served = script.model_fn(str(tmp_path / "out"))
    features = script.input_fn('"a, b",1,日本\nc,,x\n,3.0,x\n', "text/csv")
    assert script.predict_fn(features, served) == pytest.approx([1.0, 2.0, 5.0])
    only_empty = script.input_fn(",3,\n", "text/csv")
    assert len(script.predict_fn(only_empty, served)) == 1


@pytest.mark.parametrize(
    "name", ["booster.json", "booster.ubj", "booster.bst", "booster.pkl", "xgboost-model"]
)
def test_a_file_of_xgboost_is_named_as_the_image_loads_it(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"content")
    data, _ = build_model_archive(tmp_path / name, container("xgboost 1.7-1"))
    assert unpack(data, tmp_path / "out") == ["xgboost-model"]
    assert (tmp_path / "out" / "xgboost-model").read_bytes() == b"content"


def test_a_folder_and_an_archive_with_a_script_are_taken_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "in" / "code" / "__pycache__").mkdir(parents=True)
    (tmp_path / "in" / "code" / "inference.py").write_text("def model_fn(folder): ...")
    (tmp_path / "in" / "code" / "__pycache__" / "x.pyc").write_text("")
    (tmp_path / "in" / "weights.bin").write_text("1")
    data, _ = build_model_archive(tmp_path / "in", container())
    assert unpack(data, tmp_path / "out") == ["code/inference.py", "weights.bin"]
    (tmp_path / "model.tar.gz").write_bytes(data)
    assert build_model_archive(tmp_path / "model.tar.gz", container())[0] == data


@pytest.mark.parametrize(
    ("name", "content", "of", "words"),
    [
        (
            "m.joblib",
            b"x",
            container("sklearn 1.2-1", A="b"),
            "no SAGEMAKER_PROGRAM and no SAGEMAKER_SUBMIT_DIRECTORY",
        ),
        ("m.json", b"x", container(), "a model of XGBoost write image: xgboost 1.7-1"),
        ("m.joblib", b"x", container("xgboost 1.7-1"), "allowed is a file that ends with .json"),
        (
            "m.onnx",
            b"x",
            container("pytorch 2.6.0"),
            r"sklearn and xgboost only\. .* folder with .* m\.onnx, and code/inference\.py",
        ),
        ("m.tar.gz", b"x", container(), "is not a .tar.gz archive"),
    ],
)
def test_what_the_image_would_miss_is_said(
    tmp_path: Path, name: str, content: bytes, of: ContainerDefinition, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelArchiveError, match=words):
        build_model_archive(tmp_path / name, of)


def test_an_archive_without_a_script_is_refused_with_what_it_has(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "model.joblib").write_text("x")
    with pytest.raises(
        ModelArchiveError, match=r"no code/inference.py, with a function model_fn.*it has model.joblib"
    ):
        build_model_archive(tmp_path / "in", container())
