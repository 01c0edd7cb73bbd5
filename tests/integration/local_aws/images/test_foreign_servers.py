"""Model servers that nobody here wrote, registered as a user registers an image, in real transform jobs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.integration.local_aws.runner.harness import Aws
from tests.integration.local_aws.venvs import venv

pytestmark = pytest.mark.timeout(1800)  # the first run makes the environments

CSV_LINES = {"ContentType": "text/csv", "SplitType": "Line"}
CSV_OUT = {"Accept": "text/csv", "AssembleWith": "Line"}


def image(bin_folder: Path, *serve: str, **environment: str) -> dict[str, Any]:
    return {
        "pattern": "mine:1",
        "serve": list(serve),
        "path": [str(bin_folder), "/usr/bin"],
        "environment": environment,
        "mounts": [str(bin_folder.parent)],
    }


INFERENCE_SERVER_MODEL = """
import inference_server

@inference_server.plugin_hook
def model_fn(model_dir):
    with open(model_dir + "/factor") as file:
        return float(file.read())

@inference_server.plugin_hook
def input_fn(input_data, content_type):
    return [float(line) for line in input_data.decode().splitlines()]

@inference_server.plugin_hook
def predict_fn(data, model):
    return [model * value for value in data]

@inference_server.plugin_hook
def output_fn(prediction, accept):
    return "".join(f"{value}\\n" for value in prediction).encode(), "text/csv"

@inference_server.plugin_hook
def batch_strategy():
    return inference_server.BatchStrategy.MULTI_RECORD

@inference_server.plugin_hook
def max_concurrent_transforms():
    return 2

@inference_server.plugin_hook
def max_payload_in_mb():
    return 1
"""


def test_inference_server_under_gunicorn(aws: Aws) -> None:
    """It finds its model as a plugin that an installed package names, and says how it wants to be asked."""
    programs = venv("inference-server", "inference-server==1.3.3", "gunicorn==27.0.1")
    files: dict[str, bytes | str] = {
        "factor": "2.5",
        "code/times.py": INFERENCE_SERVER_MODEL,
        "code/times-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: times\nVersion: 1\n",
        "code/times-1.dist-info/entry_points.txt": "[inference_server]\ntimes = times\n",
    }
    serve = ["gunicorn", "--bind", "127.0.0.1:{port}", "--threads", "4", "inference_server:create_app()"]
    aws.put_all({"in/a": "1\n2\n", "in/b": "3\n"})
    ended = aws.transform(
        [{"Image": "mine:1", "ModelDataUrl": aws.model("m.tar.gz", files)}],
        transform_input=CSV_LINES,
        transform_output=CSV_OUT,
        images_file=aws.images_file(image(programs, *serve, PYTHONPATH="/opt/ml/model/code")),
    )
    lines = aws.log_lines("transform")
    assert ended.outcome == ("Completed", None), lines
    assert aws.tree("out/") == {"a.out": b"2.5\n5.0\n", "b.out": b"7.5\n"}
    (data_log,) = (found for name, found in lines.items() if name.endswith("/data-log"))
    assert "MaxConcurrentTransforms=2, MaxPayloadInMB=1" in data_log[0]


MMS_HANDLER = """
def model_fn(model_dir):
    return 3.0

def input_fn(data, content_type):
    return [float(line) for line in data.splitlines()]

def predict_fn(data, model):
    return [model * value for value in data]

def output_fn(prediction, accept):
    return "".join(f"{value}\\n" for value in prediction), accept
"""
# Its configuration goes to /etc, which is the machine's own here and read-only under bubblewrap.
MMS_START = """
from sagemaker_inference import model_server

model_server.MMS_CONFIG_FILE = "/tmp/sagemaker-mms.properties"
model_server.start_model_server()
"""


def test_awss_inference_toolkit_under_multi_model_server(aws: Aws) -> None:
    """A Java server with Python workers; it finds its ports in SAGEMAKER_BIND_TO_PORT and SAGEMAKER_SAFE_PORT_RANGE."""
    assert shutil.which("java"), "multi-model-server is a Java program: install a JRE of version 8 or later"
    programs = venv(
        "mms", "sagemaker-inference==1.10.1", "multi-model-server==1.1.11", "setuptools<81", "numpy", "scipy"
    )
    (aws.folder / "start_mms.py").write_text(MMS_START)
    aws.put_all({"in/a": "1\n2\n", "in/b": "3\n"})
    ended = aws.transform(
        [{"Image": "mine:1", "ModelDataUrl": aws.model("m.tar.gz", {"code/inference.py": MMS_HANDLER})}],
        transform_input=CSV_LINES,
        transform_output=CSV_OUT,
        images_file=aws.images_file(
            image(
                programs,
                "python",
                "{here}/start_mms.py",
                SAGEMAKER_MODEL_SERVER_WORKERS="1",
                SAGEMAKER_PROGRAM="inference.py",
            )
        ),
    )
    assert ended.outcome == ("Completed", None), aws.log_lines("transform")
    assert aws.tree("out/") == {"a.out": b"3.0\n6.0\n", "b.out": b"9.0\n"}


MLFLOW_MODEL = """
flavors:
  python_function:
    loader_module: loader
    code: code
    python_version: 3.11.0
"""
MLFLOW_LOADER = """
class Sum:
    def predict(self, frame, params=None):
        return frame.sum(axis=1).tolist()

def _load_pyfunc(path):
    return Sum()
"""


def test_mlflow_models_serve(aws: Aws) -> None:
    """It wants a header in each CSV request, so the object goes whole; its answers are JSON."""
    programs = venv("mlflow", "mlflow-skinny==3.17.2", "pandas==3.1.1", "fastapi==0.165.0", "uvicorn==0.54.0")
    files: dict[str, bytes | str] = {"MLmodel": MLFLOW_MODEL, "code/loader.py": MLFLOW_LOADER}
    serve = ["mlflow", "models", "serve", "-m", "/opt/ml/model", "-p", "{port}", "--env-manager", "local"]
    aws.put_all({"in/a.csv": "x,y\n1,2\n3,4\n"})
    ended = aws.transform(
        [{"Image": "mine:1", "ModelDataUrl": aws.model("m.tar.gz", files)}],
        transform_input={"ContentType": "text/csv"},
        images_file=aws.images_file(image(programs, *serve, "--workers", "1")),
    )
    assert ended.outcome == ("Completed", None), aws.log_lines("transform")
    assert json.loads(aws.get("out/a.csv.out")) == {"predictions": [3, 7]}
