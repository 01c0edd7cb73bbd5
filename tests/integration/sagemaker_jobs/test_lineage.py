"""OpenLineage hears from whoever saw a job end which data it read and wrote; no server is needed to tell it."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import airflow
import boto3
import pytest

import sagemaker_jobs.lineage
from sagemaker_jobs.airflow_compat import TaskDeferred
from sagemaker_jobs.errors import JobFailedPermanently
from sagemaker_jobs.job.submit import ensure_job
from sagemaker_jobs.operators import ProcessingJobOperator, TransformJobOperator
from sagemaker_jobs.sensors import ProcessingJobSensor, TransformJobSensor
from tests.integration.local_aws.venvs import venv
from tests.integration.sagemaker_jobs.builders import context_of, processing_config, transform_config
from tests.integration.sagemaker_jobs.specs import processing_spec, transform_spec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

    from tests.integration.sagemaker_jobs.fake_sagemaker import FakeSageMaker

pytestmark = pytest.mark.usefixtures("shared_hook", "openlineage")

# Not among the project's own requirements: its listener would slow every task of every other test.
OPENLINEAGE = (
    "apache-airflow-providers-openlineage==2.20.3", "openlineage-python==1.54.0",
    "httpx2==2.16.2", "httpcore2==2.16.2", "truststore==0.10.5",
)  # fmt: skip
FACETS = "airflow.providers.common.compat.openlineage.facet"
ALGORITHM = "AlgorithmError: See job logs for more information"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/model:1"


@pytest.fixture(scope="module")
def openlineage() -> Iterator[None]:
    """OpenLineage's provider and client, importable while these tests run."""
    site = next((venv("openlineage", "--no-deps", *OPENLINEAGE).parent / "lib").glob("python*/site-packages"))
    # Where Airflow looks for providers is fixed when it is imported; what lies beside it is looked for anew.
    sys.path.append(str(site))
    airflow.__path__.append(str(site / "airflow"))
    importlib.invalidate_caches()
    importlib.reload(importlib.import_module(FACETS))
    yield
    sys.path.remove(str(site))
    airflow.__path__.remove(str(site / "airflow"))
    for name in [name for name in sys.modules if "openlineage" in name and name != FACETS]:
        if not name.startswith("airflow.providers.common"):
            del sys.modules[name]
    importlib.invalidate_caches()
    importlib.reload(importlib.import_module(FACETS))


@pytest.fixture
def s3(moto_url: str) -> Iterator[Any]:
    """S3 with an empty bucket `bucket`."""
    client = boto3.client(
        "s3", endpoint_url=moto_url, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    client.create_bucket(Bucket="bucket")
    yield client
    for item in client.list_objects_v2(Bucket="bucket").get("Contents", []):
        client.delete_object(Bucket="bucket", Key=item["Key"])
    client.delete_bucket(Bucket="bucket")


def told(task: Any, how: str = "complete") -> tuple[list[str], list[str], dict[str, Any]]:
    """What OpenLineage's own extractor takes from a task: inputs and outputs as URIs, and run facets."""
    from airflow.providers.openlineage.extractors.base import DefaultExtractor

    found = getattr(DefaultExtractor(task), f"extract_on_{how}")(task_instance=None)
    uris = [[f"{each.namespace}/{each.name}" for each in side] for side in (found.inputs, found.outputs)]
    return uris[0], uris[1], found.run_facets


def waited(sensor: Any) -> Any:
    """The sensor, in the process that resumed it and has its result."""
    sensor.execute(context_of(sensor))
    return sensor


def test_a_processing_job_is_told_when_it_has_completed(aws: FakeSageMaker, hook: SageMakerHook, s3: Any):
    """Every S3 input, also after one of another kind; a manifest as what it lists; and the job's ARN."""
    s3.put_object(
        Bucket="bucket", Key="run/input.manifest", Body=json.dumps([{"prefix": "s3://data/in/"}, "a", "b"])
    )
    spec = processing_spec()
    spec.request["ProcessingInputs"] = [
        {"InputName": "sql", "DatasetDefinition": {"LocalPath": "/x"}},
        {"InputName": "code", "S3Input": {"S3Uri": "s3://bucket/run/code/", "S3DataType": "S3Prefix"}},
        {
            "InputName": "data",
            "S3Input": {"S3Uri": "s3://bucket/run/input.manifest", "S3DataType": "ManifestFile"},
        },
    ]
    job = ensure_job(hook, spec)
    aws.end(job.name)
    sensor = waited(ProcessingJobSensor(task_id="p", job_name="x", spec=spec.to_dict()))
    inputs, outputs, facets = told(sensor)
    assert inputs == ["s3://bucket/run/code", "s3://data/in"]
    assert outputs == ["s3://bucket/run/work-0123-1"]
    assert facets["externalQuery"].externalQueryId == job.arn
    assert facets["externalQuery"].source == "aws.sagemaker"


def test_a_manifest_that_cannot_be_read_is_named_itself(aws: FakeSageMaker, hook: SageMakerHook, s3: Any):
    """Lineage is no reason to fail."""
    s3.put_object(Bucket="bucket", Key="run/other", Body=b'["no prefix"]')
    spec = processing_spec()
    spec.request["ProcessingInputs"] = [
        {"InputName": name, "S3Input": {"S3Uri": f"s3://bucket/run/{name}", "S3DataType": "ManifestFile"}}
        for name in ("absent", "other")
    ]
    aws.end(ensure_job(hook, spec).name)
    sensor = waited(ProcessingJobSensor(task_id="p", job_name="x", spec=spec.to_dict()))
    assert told(sensor)[0] == ["s3://bucket/run/absent", "s3://bucket/run/other"]


def test_a_transform_has_the_artefacts_of_every_container_as_inputs(aws: FakeSageMaker, hook: SageMakerHook):
    """The provider reads a model package of a single container, and logs a traceback for everything else."""
    spec = transform_spec()
    assert spec.model is not None
    del spec.model["PrimaryContainer"]
    source = {"S3DataType": "S3Prefix", "CompressionType": "None", "S3Uri": "s3://models/big/"}
    spec.model["Containers"] = [
        {"Image": IMAGE, "ModelDataUrl": "s3://models/featurizer.tar.gz"},
        {"Image": IMAGE},
        {"Image": IMAGE, "ModelDataSource": {"S3DataSource": source}},
    ]
    aws.end(ensure_job(hook, spec).name)
    sensor = waited(TransformJobSensor(task_id="t", job_name="x", spec=spec.to_dict()))
    inputs, outputs, _ = told(sensor)
    assert inputs == ["s3://bucket/run/features", "s3://models/featurizer.tar.gz", "s3://models/big"]
    assert outputs == ["s3://bucket/run/score-0123-1/predictions"]


def test_a_model_that_exists_is_looked_up_with_its_package(
    aws: FakeSageMaker, hook: SageMakerHook, monkeypatch: pytest.MonkeyPatch
):
    """All containers of the package; and a sensor without a spec knows the job by Describe alone."""
    package = "arn:aws:sagemaker:us-east-1:123456789012:model-package/churn/3"
    containers = [{"Image": IMAGE, "ModelDataUrl": f"s3://models/{name}.tar.gz"} for name in ("a", "b")]
    monkeypatch.setattr(
        aws,
        "_DescribeModelPackage",
        lambda request: {
            "ModelPackageArn": request["ModelPackageName"],
            "InferenceSpecification": {"Containers": containers},
        },
        raising=False,
    )
    spec = transform_spec()
    assert spec.model is not None
    spec.model["PrimaryContainer"] = {"ModelPackageName": package}
    aws.end(ensure_job(hook, spec).name)
    sensor = waited(TransformJobSensor(task_id="t", job_name="score-0123-1"))
    assert told(sensor)[0] == ["s3://bucket/run/features", "s3://models/a.tar.gz", "s3://models/b.tar.gz"]
    aws.refuse("DescribeModelPackage", "AccessDeniedException", "not authorized")
    assert told(sensor)[0] == ["s3://bucket/run/features"]


def test_a_resumed_transform_has_read_all_and_written_to_two_places(
    aws: FakeSageMaker, hook: SageMakerHook, s3: Any
):
    """Not only what the last attempt did: the set is what both wrote."""
    for name in ("a", "b"):
        s3.put_object(Bucket="bucket", Key=f"run/features/{name}.csv", Body=b"1\n")
    spec = transform_spec(resume=True)
    ensure_job(hook, spec)
    s3.put_object(Bucket="bucket", Key="run/score-0123-1/predictions/a.csv.out", Body=b"1\n")
    aws.end("score-0123-1", "Failed", FailureReason="InternalServerError: We encountered an internal error.")
    assert ensure_job(hook, spec).name == "score-0123-2"
    aws.end("score-0123-2")
    inputs, outputs, _ = told(waited(TransformJobSensor(task_id="t", job_name="x", spec=spec.to_dict())))
    assert inputs == ["s3://bucket/run/features"]
    assert outputs == [f"s3://bucket/run/score-0123-{attempt}/predictions" for attempt in (1, 2)]


def test_a_failed_job_has_read_and_has_written_nothing_to_rely_on(aws: FakeSageMaker, hook: SageMakerHook):
    """The error itself is added by OpenLineage; which job it was is ours to say."""
    job = ensure_job(hook, transform_spec())
    aws.end(job.name, "Failed", FailureReason=ALGORITHM)
    sensor = TransformJobSensor(task_id="t", job_name="x", spec=transform_spec().to_dict())
    with pytest.raises(JobFailedPermanently):
        waited(sensor)
    inputs, outputs, facets = told(sensor, "failure")
    assert (inputs, outputs) == (["s3://bucket/run/features"], [])
    assert facets["externalQuery"].externalQueryId == job.arn


@pytest.mark.parametrize(
    ("operator", "config"),
    [(ProcessingJobOperator, processing_config()), (TransformJobOperator, transform_config())],
)
def test_an_operator_tells_nothing_at_submission_and_all_when_it_has_waited(
    aws: FakeSageMaker, hook: SageMakerHook, operator: Any, config: dict[str, Any]
):
    """Whoever waits is asked; the provider's operator tells of outputs that are not there yet."""
    submits = operator(task_id="submit", config=config)
    submits.execute(context_of(submits))
    assert told(submits) == ([], [], {})
    waits = operator(task_id="submit", config=config, wait_for_completion=True)
    context = context_of(waits)
    with pytest.raises(TaskDeferred) as deferred:
        waits.execute(context)
    assert told(waits) == ([], [], {})
    name = next(iter(aws.jobs))
    aws.end(name)
    kwargs = {**(deferred.value.kwargs or {}), "event": {"status": "Completed"}}
    waits.resume_execution(deferred.value.method_name, kwargs, context)
    _, outputs, facets = told(waits)
    assert len(outputs) == 1
    assert name in outputs[0]
    assert facets["externalQuery"].externalQueryId.endswith(name)


def test_without_openlineage_nobody_imports_it():
    """The package works where it is not installed."""
    text = Path(sagemaker_jobs.lineage.__file__).read_text()
    top = text[: text.index("def build_lineage")]
    assert "import" in top
    assert "airflow.providers.openlineage" not in top
