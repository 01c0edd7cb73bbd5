"""The policies of a pipeline allow each call of real runs of it, and nothing wider."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest

from batch_inference.cli.laptop.environment import (
    CREDENTIALS,
    REGION,
    build_airflow_environment,
    create_s3_client,
)
from batch_inference.cli.laptop.run import run_dag
from batch_inference.cli.laptop.sample import create_buckets_and_role, make_sample, upload_sample
from batch_inference.common.names import (
    MANIFEST_NAME,
    MANIFEST_VERSION,
    RunPaths,
    build_job_base_name,
    build_publish_journal_prefix,
)
from batch_inference.common.s3_uri import split_s3_uri
from batch_inference.config.images import build_image_uri
from batch_inference.config.pipeline import Pipeline
from batch_inference.config.pipeline_files import register_folder
from batch_inference.dag import janitor
from batch_inference.dag.templates import DEPLOYMENT_TAG, compute_deployment_id
from batch_inference.requests.iam import build_policies
from local_aws.server import LocalAws
from local_aws.settings import load_settings
from sagemaker_jobs.cleanup.janitor import DAG_TAG, RUN_TAG, to_run_tag
from tests.deploy.evaluation import Call, find_allowing_statements
from tests.deploy.recording import RecordingRouter, Request, calls
from tests.unit.builders import EXAMPLE, example
from tools.checkout import REPO

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(900)]

ROWS = 3_000
AIRFLOW, SAGEMAKER, JANITOR, NOBODY = "airflows-role", "local", "janitors-role", "nobody"
ROLES = [("airflow", AIRFLOW), ("sagemaker", SAGEMAKER), ("janitor", JANITOR)]

# What no run of this test does, and why the policies allow it all the same.
NOT_SEEN = {
    "airflow": {
        "s3:AbortMultipartUpload": "boto3 gives up an upload in parts that fails",
        "sagemaker:StopProcessingJob": "a run that is ended by hand, or takes too long, stops its job",
        "sagemaker:StopTransformJob": "likewise",
    },
    "sagemaker": {
        "s3:AbortMultipartUpload": "an upload in parts that fails",
        "ecr:GetAuthorizationToken": "pulling images: the embedded AWS has them here",
        "ecr:BatchCheckLayerAvailability": "likewise",
        "ecr:GetDownloadUrlForLayer": "likewise",
        "ecr:BatchGetImage": "likewise",
        "logs:DescribeLogStreams": "SageMaker's guide asks for it",
        "cloudwatch:PutMetricData": "the metrics of instances, which the embedded AWS has for types with memory_mb",
    },
    "janitor": {},
}


# What a transform reads only after the model has refused some of its objects, which none of these runs does: the
# pieces that they are cut to, and the list of what is sent again. See tests/deploy/test_policies.py.
# `publish` deletes part files only after the grace time, or of a try that fails, which the janitor does here.
AFTER_REFUSALS = {"sagemaker": ("/pieces/*", "-manifest.json*"), "airflow": ("/part-*",)}


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    """The sample's."""
    return example()


@pytest.fixture(scope="module")
def documents(pipeline: Pipeline) -> dict[str, dict[str, Any]]:
    """Its policies."""
    return build_policies(pipeline)


@pytest.fixture(scope="module")
def requests(pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> list[Request]:
    """What AWS was asked by a run that publishes, one that replaces it, the janitor, and a run that fails."""
    folder = tmp_path_factory.mktemp("iam")
    patch = pytest.MonkeyPatch()
    patch.setattr("local_aws.api.router.Router", RecordingRouter)
    server = LocalAws(load_settings(overrides_by_dotted_name={"provisioning_seconds": 0.1}), folder / "aws")
    server.start()
    try:
        make_sample(folder, rows=ROWS, seed=9)
        client = create_s3_client(server.url)
        create_buckets_and_role(client, pipeline)
        upload_sample(client, pipeline, folder)
        put_published_input(client, pipeline)
        environment = build_airflow_environment(folder / "airflow", server.url, root=REPO)
        connection = json.loads(environment["AIRFLOW_CONN_AWS_DEFAULT"])
        environment["AIRFLOW_CONN_AWS_DEFAULT"] = json.dumps({**connection, "login": AIRFLOW})
        # What does not go through the connection is seen as nobody's.
        environment["AWS_ACCESS_KEY_ID"] = NOBODY
        airflow(environment, "db", "migrate")
        RecordingRouter.recorded.clear()
        # The second asks whether it would change anything, which the first, unasked, has left no digests to tell by.
        for conf in ({}, {"skip_unchanged": True}):
            assert run(environment, folder, conf) == "success"
        leave_over(server.url, pipeline)
        patch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps({**connection, "login": JANITOR}))
        tidy_up(patch)
        break_model(server.url, pipeline)
        assert run(environment, folder) == "failed"
        # This test's own call has the laptop's key, which no task is given here.
        own = CREDENTIALS["AWS_ACCESS_KEY_ID"]
        return [request for request in RecordingRouter.recorded if request.access_key != own]
    finally:
        server.stop()
        patch.undo()


@pytest.fixture(scope="module")
def recorded(requests: list[Request]) -> dict[str, list[Call]]:
    """The IAM calls of those requests, by the access key that signed them."""
    found: dict[str, list[Call]] = {}
    for request in requests:
        found.setdefault(request.access_key, []).extend(calls(request))
    return found


def put_published_input(client: Any, pipeline: Pipeline) -> None:
    """Put a folder that another pipeline has published to below the input: `plan` follows its manifest."""
    uri = f"{pipeline.input.uri.split('{', 1)[0]}published/"
    bucket, key = split_s3_uri(uri)
    row = b"M,0.455,0.365,0.095,0.514,0.2245,0.101,0.15,15\n"
    etag = client.put_object(Bucket=bucket, Key=f"{key}part-00000.csv", Body=row)["ETag"].strip('"')
    manifest = {
        "version": MANIFEST_VERSION,
        "pipeline": "another",
        "run_id": "its-run",
        "output_uri": uri,
        "files": [{"uri": f"{uri}part-00000.csv", "etag": etag}],
    }
    client.put_object(Bucket=bucket, Key=f"{key}{MANIFEST_NAME}", Body=json.dumps(manifest).encode())


def break_model(url: str, pipeline: Pipeline) -> None:
    """Put something in the model's place that is no archive, so that the transform fails."""
    bucket, key = split_s3_uri(str(pipeline.model.containers[0].model_data))
    create_s3_client(url).put_object(Bucket=bucket, Key=key, Body=b"this is no archive")


def leave_over(url: str, pipeline: Pipeline) -> None:
    """Leave what no teardown reached of runs that Airflow no longer knows: a job of each kind, and a model."""
    session = boto3.Session(
        CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"], region_name=REGION
    )
    client = session.client("sagemaker", endpoint_url=url)

    def name(step: str, run: str) -> str:
        return build_job_base_name(pipeline=pipeline.name, step=step, nonce=run, task_id=step)

    def tags(run: str) -> dict[str, Any]:
        stated = {DAG_TAG: pipeline.name, RUN_TAG: to_run_tag(run), DEPLOYMENT_TAG: compute_deployment_id()}
        return {"Tags": [{"Key": key, "Value": value} for key, value in stated.items()]}

    leave_parts(url, pipeline)
    image = build_image_uri(pipeline.model.containers[0].image, REGION)
    model = {"ExecutionRoleArn": pipeline.role, "PrimaryContainer": {"Image": image}}
    for run in ("deleted-1", "deleted-2"):
        client.create_model(ModelName=name("model", run), **model, **tags(run))
    paths = RunPaths.from_run_id(work=pipeline.work, pipeline=pipeline.name, run_id="deleted-1")
    features = paths.build_job_paths(f"{name('preprocess', 'deleted-1')}-1").features
    bucket, key = split_s3_uri(f"{features}part-00000.csv")
    create_s3_client(url).put_object(Bucket=bucket, Key=key, Body=b"1,2,3\n")
    # A model without an archive answers no ping, so this job waits for the janitor.
    client.create_transform_job(
        TransformJobName=f"{name('transform', 'deleted-1')}-1",
        ModelName=name("model", "deleted-1"),
        TransformInput={"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": features}}},
        TransformOutput={
            "S3OutputPath": paths.build_job_paths(f"{name('transform', 'deleted-1')}-1").predictions
        },
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
        **tags("deleted-1"),
    )
    client.create_processing_job(
        ProcessingJobName=f"{name('preprocess', 'deleted-1')}-1",
        RoleArn=pipeline.role,
        AppSpecification={
            "ImageUri": build_image_uri(pipeline.preprocess.image, REGION),
            "ContainerEntrypoint": ["python3", "-c", "import time; time.sleep(600)"],
        },
        ProcessingResources={
            "ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}
        },
        **tags("deleted-1"),
    )


def leave_parts(url: str, pipeline: Pipeline) -> None:
    """Leave a part file of a try to publish that was killed before it committed, and its account of that."""
    client = create_s3_client(url)
    bucket, root = split_s3_uri(pipeline.output.uri.partition("{")[0])
    listed = client.list_objects_v2(Bucket=bucket, Prefix=root)["Contents"]
    (manifest,) = [each["Key"] for each in listed if each["Key"].endswith("_manifest.json")]
    folder = manifest.removesuffix("_manifest.json")
    key = f"{folder}part-00000-killed-012345-1.parquet"
    client.put_object(Bucket=bucket, Key=key, Body=b"x")
    killed = {
        "version": 1, "dag_id": pipeline.name, "run_id": "killed", "state": "copying",
        "output": f"s3://{bucket}/{folder}", "parts": [f"s3://{bucket}/{key}"],
        "replacing": client.head_object(Bucket=bucket, Key=manifest)["ETag"],
    }  # fmt: skip
    where = split_s3_uri(
        f"{build_publish_journal_prefix(work=pipeline.work, pipeline=pipeline.name)}killed-012345-1.json"
    )
    client.put_object(Bucket=where[0], Key=where[1], Body=json.dumps(killed).encode())


def tidy_up(patch: pytest.MonkeyPatch) -> None:
    """Run the janitor's tasks forty days later: nothing is active, and all but the last run is past its time."""

    class NothingRuns:
        """A task instance of an Airflow that knows no active run."""

        def get_dr_count(self, **_: Any) -> int:
            return 0

        def get_task_states(self, **_: Any) -> dict[str, Any]:
            return {}

    later = time.time() + 40 * 86_400
    patch.setattr(janitor, "time", SimpleNamespace(time=lambda: later))
    register_folder(janitor.DAG_ID, EXAMPLE.parent)
    done = janitor.clean_up_jobs(ti=NothingRuns())
    assert sorted(each.split("-")[2] for each in done) == ["model", "preprocess", "transform"], done
    removed = janitor.clean_up_outputs(ti=NothingRuns())
    assert len(removed) == 2, removed
    assert removed[0].endswith("part-00000-killed-012345-1.parquet"), removed
    pruned = janitor.apply_retention(ti=NothingRuns(), dag_run=SimpleNamespace(run_type="manual"))
    assert len(pruned) == 1, pruned


def airflow(environment: Mapping[str, str], *arguments: str) -> None:
    """Run one of Airflow's commands."""
    command = [sys.executable, "-m", "airflow", *arguments]
    done = subprocess.run(command, env=dict(environment), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def run(environment: Mapping[str, str], folder: Path, conf: Mapping[str, Any] | None = None) -> str:
    """The final state of one run of the DAG."""
    # More instances make the same calls more often.
    conf = {"transform_instance_count": 1, **(conf or {})}
    return str(run_dag("abalone", conf, environment, folder / "run.log").state)


def test_every_call_is_one_of_the_two_roles(recorded: dict[str, list[Call]]) -> None:
    """No task goes around its connection."""
    assert set(recorded) == {AIRFLOW, SAGEMAKER, JANITOR}
    services = {call.action.split(":")[0] for call in recorded[AIRFLOW]}
    assert services == {"s3", "sagemaker", "iam", "logs", "servicequotas", "cloudwatch", "pricing"}
    assert {call.action.split(":")[0] for call in recorded[SAGEMAKER]} == {"s3", "logs"}
    assert {call.action.split(":")[0] for call in recorded[JANITOR]} == {"s3", "sagemaker"}


@pytest.mark.parametrize(("role", "key"), ROLES)
def test_each_call_is_allowed(
    recorded: dict[str, list[Call]], documents: dict[str, dict[str, Any]], role: str, key: str
) -> None:
    """Calls that the policy refuses, each once."""
    refused = {(call.action, call.resource, str(dict(call.context))) for call in recorded[key]
               if not find_allowing_statements(documents[role], call)}  # fmt: skip
    assert refused == set()


@pytest.mark.parametrize(("role", "key"), ROLES)
def test_nothing_can_be_taken_away(
    recorded: dict[str, list[Call]], documents: dict[str, dict[str, Any]], role: str, key: str
) -> None:
    """Each action was needed by some call, but for those with a reason."""
    used = {
        action for call in recorded[key] for _, action, _ in find_allowing_statements(documents[role], call)
    }
    unused = {action for statement in documents[role]["Statement"] for action in statement["Action"]} - used
    assert unused == set(NOT_SEEN[role])


@pytest.mark.parametrize(("role", "key"), ROLES)
def test_each_resource_was_used(
    recorded: dict[str, list[Call]], documents: dict[str, dict[str, Any]], role: str, key: str
) -> None:
    """But for second forms of names (attempts above 9, log groups without `:*`), and the logs of `preprocess`.

    It did not fail here; its logs are read as the transform's are.
    """
    used = {
        (number, resource)
        for call in recorded[key]
        for number, _, resource in find_allowing_statements(documents[role], call)
    }
    unused = {
        resource
        for number, statement in enumerate(documents[role]["Statement"])
        if statement["Effect"] == "Allow" and not set(statement["Action"]) <= set(NOT_SEEN[role])
        for resource in statement["Resource"]
        if (number, resource) not in used
    }
    logs = {each for each in unused if role == "airflow" and "/ProcessingJobs:" in each}
    assert [
        each for each in unused - logs if not each.endswith(("-??", "Jobs", *AFTER_REFUSALS.get(role, ())))
    ] == []


@pytest.mark.parametrize(("role", "key"), ROLES)
def test_the_same_calls_on_what_belongs_to_others_are_refused(
    recorded: dict[str, list[Call]], documents: dict[str, dict[str, Any]], role: str, key: str
) -> None:
    """Each call was tried on its neighbours: another pipeline, bucket, account, region, role, service."""
    tried = 0
    for call in set(recorded[key]):
        for changed in neighbours(call):
            assert not find_allowing_statements(documents[role], changed), changed
            tried += 1
    assert tried > 100


def neighbours(call: Call) -> Iterator[Call]:
    """The call with one thing changed."""
    for ours, theirs in (
        (":::batch-inference-sample", ":::batch-inference-sample2"), ("/abalone/", "/salmon/"),
        ("-job/abalone-", "-job/abalone2-"), ("model/abalone-", "model/abalone2-"),
        ("stream:abalone-", "stream:salmon-"),
        (":123456789012:", ":210987654321:"), (":us-east-1:", ":eu-west-1:"), ("role/batch-inference", "role/admin"),
        ("Jobs:", "Jobs2:"),
    ):  # fmt: skip
        if ours in call.resource:
            yield Call(call.action, call.resource.replace(ours, theirs), call.context)
    for name, value in call.context.items():
        yield Call(call.action, call.resource, {**call.context, name: f"other{value}"})
        yield Call(
            call.action, call.resource, {key: each for key, each in call.context.items() if key != name}
        )
    service, action = call.action.split(":")
    for prefix in ("Delete", "Put", "Create"):
        if action.startswith(("Get", "Describe")):
            stem = action.removeprefix("Get").removeprefix("Describe")
            if (service, prefix, stem) not in KNOWN_WRITES:
                yield Call(f"{service}:{prefix}{stem}", call.resource, call.context)


#: Writes that the policies do allow, on some of the resources that are read.
KNOWN_WRITES = {
    ("s3", "Put", "Object"), ("s3", "Delete", "Object"), ("sagemaker", "Create", "ProcessingJob"),
    ("sagemaker", "Create", "TransformJob"), ("sagemaker", "Create", "Model"), ("sagemaker", "Delete", "Model"),
}  # fmt: skip


def test_a_narrower_policy_is_noticed(
    recorded: dict[str, list[Call]], documents: dict[str, dict[str, Any]]
) -> None:
    """So `each call is allowed` can fail: without any one statement that allows, some call is refused.

    `LookAtInput`, which may be dropped, allows what `FollowManifests` does: the others are needed without it.
    """
    for role, key in ROLES:
        for statement in documents[role]["Statement"]:
            if statement["Effect"] == "Deny" or set(statement["Action"]) <= set(NOT_SEEN[role]):
                continue
            kept = [
                each
                for each in documents[role]["Statement"]
                if each == statement or each.get("Sid") != "LookAtInput"
            ]
            calls_allowed = [
                call for call in recorded[key] if find_allowing_statements({"Statement": kept}, call)
            ]
            narrower = {"Statement": [each for each in kept if each != statement]}
            refused = [call for call in calls_allowed if not find_allowing_statements(narrower, call)]
            assert refused, statement["Sid"]


@pytest.mark.parametrize(("role", "key"), ROLES)
def test_a_denial_refuses_no_call_that_is_made(
    recorded: dict[str, list[Call]], documents: dict[str, dict[str, Any]], role: str, key: str
) -> None:
    """But some of the same kind, or it would be without a purpose."""
    for statement in documents[role]["Statement"]:
        if statement["Effect"] == "Deny":
            inverted = {"Statement": [{**statement, "Effect": "Allow"}]}
            assert not [call for call in recorded[key] if find_allowing_statements(inverted, call)]
            assert {call.action for call in recorded[key]} >= set(statement["Action"])


def test_no_task_reads_an_object_that_may_not_be_there(requests: list[Request]) -> None:
    """To a role that may list some prefixes only S3 answers 403, not 404; what is there, a listing tells."""
    assert [each.path for each in requests if each.access_key == AIRFLOW and each.status == 404] == []
