"""Looks in AWS, before anything is spent, for what the jobs of a run need: buckets, role, model archives, wheels.

Each look is one small call. What this role may not look at is a sentence, and what is not there is a problem.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, NamedTuple

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from botocore.exceptions import ClientError

from batch_inference.aws.optional_calls import CALL_ERRORS, SHORT_TIMEOUTS
from batch_inference.aws.s3 import Storage, is_not_found
from batch_inference.common.errors import SetupError
from batch_inference.common.formatting import join_words
from batch_inference.common.s3_uri import is_s3_uri, split_s3_uri
from batch_inference.config.pipeline import Pipeline
from batch_inference.planning.model_version import ModelPlan
from batch_inference.requests.iam import SAGEMAKER_SERVICE
from sagemaker_jobs.aws import get_client

ASSUME_ROLE = "sts:AssumeRole"
#: Concurrent calls, within the connection pool of a boto3 client.
MAX_WORKERS = 8
#: Folders above an empty input in which one of a similar name is looked for.
MAX_PARENTS = 3
#: The field of the published rows, which no job writes.
OUTPUT_FIELD = "output.uri"


class Finding(NamedTuple):
    """One sentence about the set-up; `is_problem`: no run can succeed until it is mended."""

    text: str
    is_problem: bool = True


def check_buckets(storage: Storage, uris: Mapping[str, str]) -> list[Finding]:
    """Whether the buckets exist, in the region of the jobs.

    `uris` are the S3 URIs of the run by field of the pipeline file: `input.uri`, `output.uri` and `work`.
    """
    fields: dict[str, list[str]] = {}
    for field, uri in uris.items():
        fields.setdefault(split_s3_uri(uri)[0], []).append(field)
    return _look(partial(_check_bucket, storage, bucket, named_by) for bucket, named_by in fields.items())


def check_resources(storage: Storage, pipeline: Pipeline, model: ModelPlan) -> list[Finding]:
    """Whether the archives of the model, the wheels and the role of the jobs are there.

    SageMaker also takes an archive by https, which is not looked at.
    """
    looks: list[Callable[[], Iterator[Finding]]] = [
        partial(_check_archive, storage, uri) for uri in dict.fromkeys(model.model_data) if is_s3_uri(uri)
    ]
    if pipeline.preprocess is not None and pipeline.preprocess.wheels is not None:
        looks.append(partial(_check_wheels, storage, pipeline.preprocess.wheels))
    if pipeline.preprocess is not None or model.name is None:
        hook: Any = AwsBaseHook(
            aws_conn_id=pipeline.aws_conn_id, client_type="iam", region_name=pipeline.region, config=SHORT_TIMEOUTS
        )  # fmt: skip
        looks.append(partial(_check_role, get_client(hook), pipeline.role))
    return _look(looks)


def find_near_folder(storage: Storage, uri: str) -> str | None:
    """The folder that exists and is spelled most like that of `uri`, where nothing is; None when none is near.

    A role that may list the input's prefix only may not look; then there is none either.
    """
    bucket, key = split_s3_uri(uri)
    names = key.rstrip("/").split("/")
    for depth in reversed(range(max(0, len(names) - MAX_PARENTS), len(names))):
        parent = f"s3://{bucket}/{''.join(f'{name}/' for name in names[:depth])}"
        try:
            folders = {
                folder.rstrip("/").rsplit("/", 1)[1]: folder for folder in storage.list_folders(parent)
            }
        except CALL_ERRORS:
            return None
        if folders:
            near = get_close_matches(names[depth], folders.keys() - {names[depth]}, n=1, cutoff=0.6)
            return folders[near[0]] if near else None
    return None


def _look(looks: Iterable[Callable[[], Iterator[Finding]]]) -> list[Finding]:
    with ThreadPoolExecutor(MAX_WORKERS) as pool:
        return [finding for findings in pool.map(lambda look: list(look()), looks) for finding in findings]


def _check_bucket(storage: Storage, bucket: str, fields: list[str]) -> Iterator[Finding]:
    """A policy that allows to list some prefixes only refuses HeadBucket, and S3 tells the region all the same."""
    try:
        answer = storage.client.head_bucket(Bucket=bucket)["ResponseMetadata"]
    except ClientError as error:
        answer = error.response["ResponseMetadata"]
    where = join_words(fields)
    if answer["HTTPStatusCode"] == 404:
        yield Finding(
            f"{where}: found the bucket {bucket}, which does not exist; create it, or correct the URI"
        )
        return
    region = answer["HTTPHeaders"].get("x-amz-bucket-region", storage.region)
    if region == storage.region:
        return
    found = f"{where}: found the bucket {bucket} in {region}, and the jobs run in {storage.region}"
    if fields == [OUTPUT_FIELD]:
        yield Finding(f"{found}; the published rows are sent there, which AWS bills.", is_problem=False)
    else:
        yield Finding(
            f"{found}; SageMaker's jobs use buckets of their own region; use a bucket of {storage.region}, or set "
            f"region: {region}"
        )


def _check_archive(storage: Storage, uri: str) -> Iterator[Finding]:
    try:
        storage.head(uri)
    except ClientError as error:
        if is_not_found(error):
            yield Finding(
                f"model: found no object at {uri}, the archive that a container of the model loads; upload it "
                "(`batch-inference model PIPELINE MODEL_FILE`), or correct the URI"
            )
        else:
            yield _say_not_allowed(uri, error, f"s3:GetObject on {uri}")


def _check_wheels(storage: Storage, prefix: str) -> Iterator[Finding]:
    try:
        uris = storage.list_uris(prefix)
    except ClientError as error:
        yield _say_not_allowed(prefix, error, f"s3:ListBucket for {prefix}")
        return
    if not any(uri.endswith(".whl") for uri in uris):
        found = "no wheel" if uris else "nothing"
        yield Finding(
            f"preprocess.wheels: found {found} below {prefix}; upload the .whl files, correct the prefix, or drop "
            "preprocess.wheels"
        )


def _check_role(client: Any, role: str) -> Iterator[Finding]:
    try:
        found = client.get_role(RoleName=role.rpartition("/")[2])["Role"]
    except CALL_ERRORS as error:
        if isinstance(error, ClientError) and error.response["Error"]["Code"] == "NoSuchEntity":
            yield Finding(
                f"role: {role} does not exist in the account of Airflow's connection; correct the ARN, or create the "
                "role with the policies that `batch-inference iam` prints"
            )
        else:
            yield _say_not_allowed(f"the role {role}", error, "iam:GetRole on it")
        return
    # The embedded AWS has one account; AWS refuses the role of another account when a job is submitted.
    if found["Arn"].partition(":role/")[2] != role.partition(":role/")[2]:
        yield Finding(f"role: found {role}, and IAM's role of that name is {found['Arn']}; write that ARN")
        return
    statements = _to_list(found["AssumeRolePolicyDocument"].get("Statement"))
    if not any(map(_lets_sagemaker_assume, statements)):
        yield Finding(
            f"role: found {role}, whose trust policy does not let {SAGEMAKER_SERVICE} assume it ({ASSUME_ROLE}); "
            "replace the trust policy by the one that `batch-inference iam` prints"
        )


def _lets_sagemaker_assume(statement: Mapping[str, Any]) -> bool:
    principal = statement.get("Principal")
    services = [principal] if isinstance(principal, str) else _to_list((principal or {}).get("Service"))
    actions = [action.lower() for action in _to_list(statement.get("Action"))]
    return (
        statement.get("Effect") == "Allow"
        and any(service in (SAGEMAKER_SERVICE, "*") for service in services)
        and any(fnmatchcase(ASSUME_ROLE.lower(), action) for action in actions)
    )


def _to_list(value: Any) -> list[Any]:
    """IAM writes one item without its list."""
    return [] if value is None else value if isinstance(value, list) else [value]


def _say_not_allowed(what: str, error: Exception, permission: str) -> Finding:
    return Finding(
        f"Plan could not look at {what} ({error}); allow {permission} to Airflow's role for that.",
        is_problem=False,
    )


def raise_for_problems(findings: Iterable[Finding]) -> None:
    """Raise SetupError with those that no run can succeed with."""
    problems = tuple(each.text for each in findings if each.is_problem)
    if problems:
        raise SetupError(problems)
