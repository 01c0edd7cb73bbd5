"""Scripts as AWS's samples and SDK bring them: the library they import, the archive they lie in."""

from __future__ import annotations

import json

from tests.integration.local_aws.runner.harness import SKLEARN_IMAGE, Aws

# The serving half of AWS's abalone sample for an inference pipeline, its featurizer taken away.
SAMPLE = '''
import json
from io import StringIO

import pandas as pd
from sagemaker_containers.beta.framework import content_types, encoders, env, modules, transformer, worker

def model_fn(model_dir):
    return None

def input_fn(input_data, content_type):
    """A label may or may not be there."""
    if content_type == content_types.CSV:
        return pd.read_csv(StringIO(input_data), header=None)
    raise ValueError("{} not supported by script!".format(content_type))

def predict_fn(input_data, model):
    return input_data.to_numpy() * 2

def output_fn(prediction, accept):
    if accept == "application/json":
        instances = [{"features": row} for row in prediction.tolist()]
        return worker.Response(json.dumps({"instances": instances}), mimetype=accept)
    if accept == "text/csv":
        return worker.Response(encoders.encode(prediction, accept), mimetype=accept)
    raise RuntimeError("{} accept type is not supported by this script.".format(accept))
'''


def test_a_sample_that_imports_sagemaker_containers_is_served_unmodified_from_an_archive_in_s3(
    aws: Aws,
) -> None:
    """The SDK leaves the script beside the model, and its address in SAGEMAKER_SUBMIT_DIRECTORY."""
    container = {
        "Image": SKLEARN_IMAGE,
        "ModelDataUrl": aws.model("model.tar.gz", {"model.joblib": b"not read"}),
        "Environment": {
            "SAGEMAKER_PROGRAM": "sample.py",
            "SAGEMAKER_SUBMIT_DIRECTORY": aws.model("code/sourcedir.tar.gz", {"sample.py": SAMPLE}),
        },
    }
    aws.put_all({"in/a": "1,2\n3,4\n"})
    for accept, expected in {
        "application/json": json.dumps({"instances": [{"features": [2, 4]}, {"features": [6, 8]}]}).encode(),
        "text/csv": b"2,4\n6,8\n",
    }.items():
        ended = aws.transform(
            [container],
            transform_input={"ContentType": "text/csv", "SplitType": "Line"},
            transform_output={"Accept": accept},
        )
        assert ended.outcome == ("Completed", None), aws.log_lines("transform")
        assert aws.get("out/a.out") == expected
