"""The XGBoost image, with its library from the index since this project does not need it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from local_aws.runner.containers.images import BUILT_IN_IMAGES_FILE
from tests.integration.local_aws.runner.harness import Aws
from tests.integration.local_aws.venvs import venv

pytestmark = pytest.mark.timeout(1800)  # the first run makes the environment

# Fits a few trees, saves the booster as `argv[1]`, prints its predictions for the rows of the test.
FIT = """
import json, pickle, sys
import numpy as np, xgboost
rng = np.random.default_rng(1)
x = rng.random((200, 3), dtype=np.float32)
booster = xgboost.train({"max_depth": 2}, xgboost.DMatrix(x, x @ [1.0, 2.0, 3.0]), 3)
if sys.argv[1].endswith(".pkl"):
    pickle.dump(booster, open(sys.argv[1], "wb"))
else:
    booster.save_model(sys.argv[1])
rows = np.array([[0.1, 0.2, 0.3], [0.9, np.nan, 0.5]], dtype=np.float32)
print(json.dumps(booster.predict(xgboost.DMatrix(rows)).tolist()))
"""


@pytest.fixture(scope="module")
def python() -> Path:
    return venv("xgboost", "xgboost-cpu==3.2.0") / "python"


@pytest.mark.parametrize(
    ("name", "accept"), [("model.pkl", "text/csv"), ("model.ubj", "application/jsonlines")]
)
def test_a_booster_is_served_with_missing_values(aws: Aws, python: Path, name: str, accept: str) -> None:
    file = aws.folder / name
    printed = subprocess.run(
        [str(python), "-c", FIT, str(file)], capture_output=True, text=True, check=True
    ).stdout
    aws.put_all({"in/a": "0.1,0.2,0.3\n0.9,,0.5\n", "in/b": "1,2\n"})
    image = {
        "pattern": "mine/sagemaker-xgboost:1.7-1",
        "serve": [str(python), str(BUILT_IN_IMAGES_FILE.parent / "start.py"), "xgboost"],
        "mounts": [str(python.parent.parent)],
    }
    ended = aws.transform(
        [
            {
                "Image": "mine/sagemaker-xgboost:1.7-1",
                "ModelDataUrl": aws.model("m.tar.gz", {name: file.read_bytes()}),
            }
        ],
        transform_input={"ContentType": "text/csv", "SplitType": "Line"},
        transform_output={"Accept": accept, "AssembleWith": "Line"},
        images_file=aws.images_file(image),
    )
    assert ended.outcome == ("Failed", "ClientError: See job logs for more information")
    lines = aws.get("out/a.out").decode().splitlines()
    scores = (
        [json.loads(line)["score"] for line in lines]
        if accept != "text/csv"
        else [float(line) for line in lines]
    )
    assert scores == pytest.approx(json.loads(printed), abs=1e-6)
    assert aws.keys("out/") == ["out/a.out"]
