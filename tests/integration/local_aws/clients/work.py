"""What every foreign client is given: an image that a real account has too, a model, records, an environment."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from tests.archives import pack_tar_gz
from tests.integration.local_aws.conftest import Aws
from tests.integration.local_aws.servers import REGION

IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
INSTANCE = "ml.m5.large"
MODEL_ENVIRONMENT = {
    "SAGEMAKER_PROGRAM": "inference.py",
    "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code",
}
# Doubles each line; "bad" breaks the request, "slow" keeps it until somebody stops the job.
MODEL = """
import time

def model_fn(model_dir):
    return 2

def input_fn(body, content_type):
    return (body.decode() if isinstance(body, bytes) else body).split()

def predict_fn(rows, model):
    if "bad" in rows:
        raise ValueError("a bad record")
    if "slow" in rows:
        time.sleep(600)
    return "".join(f"{int(row) * model}\\n" for row in rows)

def output_fn(prediction, accept):
    print("doubled", prediction.count("\\n"), flush=True)
    return prediction, accept
"""
# Counts the lines of each input object into one output object.
COUNT = """
import os
import pathlib

found = sorted(pathlib.Path("/opt/ml/processing/input").glob("*.csv"))
lines = {path.name: len(path.read_text().splitlines()) for path in found}
print("counted", sum(lines.values()), os.environ.get("UNIT", "lines"), flush=True)
text = "".join(f"{name} {count}\\n" for name, count in lines.items())
pathlib.Path("/opt/ml/processing/output/counts.txt").write_text(text)
"""
RECORDS = {"a.csv": range(1, 301), "b.csv": range(301, 501), "c.csv": range(501, 502)}
COUNTS = b"a.csv 300\nb.csv 200\nc.csv 1\n"


def objects() -> dict[str, bytes]:
    """Input objects by name: 501 records in all."""
    return {name: lines(records) for name, records in RECORDS.items()}


def expected_outputs() -> dict[str, bytes]:
    """What a transform of them must leave, by name."""
    return {f"{name}.out": lines(2 * record for record in records) for name, records in RECORDS.items()}


def lines(values: Iterable[int]) -> bytes:
    """Values, one a line."""
    return "".join(f"{value}\n" for value in values).encode()


def model_archive() -> bytes:
    """The model as model.tar.gz."""
    return pack_tar_gz({"code/inference.py": MODEL})


def environment(aws: Aws) -> Mapping[str, str]:
    """A foreign program's environment: it finds the embedded AWS by AWS_ENDPOINT_URL alone."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    if aws.endpoint_url is None:
        return {**os.environ, "AWS_DEFAULT_REGION": REGION}
    return {
        **inherited,
        "AWS_ENDPOINT_URL": aws.endpoint_url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def get_timeout_seconds(aws: Aws) -> float:
    """Seconds that a small job may take from its creation to its end: instances of an account come slowly."""
    return 120 if aws.endpoint_url else 1500


def outputs(aws: Aws, prefix: str) -> dict[str, bytes]:
    """Objects below an s3:// prefix, by their key relative to it."""
    return {key: aws.get(prefix + key) for key in aws.keys(prefix)}
