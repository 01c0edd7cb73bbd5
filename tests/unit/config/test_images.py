"""AWS's images by name, in the account of each region."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from batch_inference.common.errors import PlanError
from batch_inference.config.images import build_image_uri, load_images
from batch_inference.requests.sagemaker import build_planned_requests
from local_aws.runner.containers.images import BUILT_IN_IMAGES_FILE
from tests.unit.builders import pipeline, plan


# As image_uris.retrieve of the SageMaker SDK 2.257.7 answers.
@pytest.mark.parametrize(
    ("name", "region", "account", "path"),
    [
        ("sklearn 1.2-1", "us-east-1", "683313688378", "amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"),
        ("sklearn 1.2-1", "eu-central-1", "492215442770", "amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"),
        ("sklearn 1.2-1", "cn-north-1", "450853457545", "amazonaws.com.cn/sagemaker-scikit-learn:1.2-1-cpu-py3"),
        ("xgboost 1.7-1", "us-east-1", "683313688378", "amazonaws.com/sagemaker-xgboost:1.7-1"),
        ("xgboost 1.0-1", "us-east-1", "683313688378", "amazonaws.com/sagemaker-xgboost:1.0-1-cpu-py3"),
        ("linear-learner 1", "us-east-1", "382416733822", "amazonaws.com/linear-learner:1"),
        ("pytorch 2.6.0 gpu", "us-east-1", "763104351884", "amazonaws.com/pytorch-inference:2.6.0-gpu-py312"),
        ("tensorflow 2.19.0", "us-east-1", "763104351884", "amazonaws.com/tensorflow-inference:2.19.0-cpu"),
            ],
)  # fmt: skip
def test_a_name_is_the_image_that_the_sdk_takes(name: str, region: str, account: str, path: str) -> None:
    assert build_image_uri(name, region) == f"{account}.dkr.ecr.{region}.{path}"


def test_a_uri_stays_as_it_is() -> None:
    assert build_image_uri("any.example/of/mine:1", "mars-north-1") == "any.example/of/mine:1"


def named(image: str, **changes: Any) -> Any:
    return pipeline({"preprocess": {"image": image}, **changes})


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("sklern 1.2-1", ["found 'sklern 1.2-1'", "did you mean 'sklearn'?"]),
        ("sklearn", ["'sklearn' without a version", "0.23-1, 1.0-1 or 1.2-1"]),
        ("sklearn 1.2", ["found 'sklearn 1.2'", "did you mean 'sklearn 1.2-1'?"]),
        ("sklearn:1.2-1", ["did you mean 'sklearn 1.2-1'?"]),
        ("host/with a space:1", ["an image URI has no spaces"]),
        ("", ["at least 1 character"]),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(image: str, words: list[str]) -> None:
    with pytest.raises(ValidationError) as refused:
        named(image)
    for each in words:
        assert each in str(refused.value)


def test_a_region_without_the_image_is_refused_where_it_is_known_first() -> None:
    with pytest.raises(
        ValueError, match=r"'lda 1', which AWS does not offer in the region eu-north-1.*eu-west-1"
    ):
        named("lda 1", region="eu-north-1")
    of = named("lda 1")
    planned = plan(of=of)
    with pytest.raises(PlanError, match="AWS does not offer in the region eu-north-1"):
        build_planned_requests(of, planned.model_copy(update={"region": "eu-north-1"}))
    requests = build_planned_requests(of, planned.model_copy(update={"region": "eu-west-1"}))
    assert (
        requests["preprocess"]["AppSpecification"]["ImageUri"]
        == "999678624901.dkr.ecr.eu-west-1.amazonaws.com/lda:1"
    )


def test_the_embedded_aws_runs_the_images_that_its_documentation_names() -> None:
    patterns = [image["pattern"] for image in yaml.safe_load(BUILT_IN_IMAGES_FILE.read_text())["images"]]
    run = {
        name.split()[0]
        for name, image in load_images().images.items()
        if any(fnmatchcase(image.build_uri("us-east-1"), pattern) for pattern in patterns)
    }
    assert {"sklearn", "xgboost", "linear-learner"} == run
