"""What a job wrote, for XCom: its small JSON files, for ``output_files_to_xcom``, and a listing of its output.

The listing is written to S3 when the job has ended. With its digest, a later reader of the output can verify that it
reads what the job wrote.
"""

from __future__ import annotations

import hashlib
import json
import logging
from typing import TYPE_CHECKING, Any, TypedDict

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from botocore.exceptions import ClientError

from sagemaker_jobs.aws import call_with_retries, get_error_code
from sagemaker_jobs.errors import RequestError
from sagemaker_jobs.s3 import get_s3_client, list_objects, to_bucket_and_key, to_folder_uri

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

log = logging.getLogger(__name__)

_KEYS = ("result_name", "output_name", "file_name")


def read_output_files(
    hook: SageMakerHook, description: dict[str, Any], output_files_to_xcom: list[dict[str, str]]
) -> dict[str, Any]:
    """``{"OutputFiles": {result_name: content}}`` of these files, {} if there are none.

    As in the provider's operator, a file that is missing or not JSON becomes ``{"_error": message}``; unlike there,
    the connection's endpoint, region and settings are used. Raises RequestError for an entry that lacks one of
    the three keys or names an output that the job does not have.
    """
    if not output_files_to_xcom:
        return {}
    outputs = {
        output["OutputName"]: output["S3Output"]["S3Uri"]
        for output in description.get("ProcessingOutputConfig", {}).get("Outputs", [])
        if "S3Output" in output
    }
    s3 = get_s3_client(hook)
    found: dict[str, Any] = {}
    for entry in output_files_to_xcom:
        if not entry.keys() >= set(_KEYS):
            raise RequestError(
                f"output_files_to_xcom has {json.dumps(entry)}; needed are the keys {', '.join(_KEYS)}."
            )
        if entry["output_name"] not in outputs:
            raise RequestError(
                f"output_files_to_xcom names output {entry['output_name']!r}; the job has "
                f"{', '.join(map(repr, outputs)) or 'none'}."
            )
        uri = f"{outputs[entry['output_name']].rstrip('/')}/{entry['file_name']}"
        found[entry["result_name"]] = _content(s3, uri)
    return {"OutputFiles": found}


def _content(s3: Any, uri: str) -> Any:
    try:
        return json.load(call_with_retries(s3.get_object, to_bucket_and_key(uri))["Body"])
    except ClientError as error:
        if get_error_code(error) not in {"NoSuchKey", "NoSuchBucket", "AccessDenied"}:
            raise
        problem = f"{uri} cannot be read: {get_error_code(error)}"
    except ValueError as error:
        problem = f"{uri} is not JSON: {error}"
    log.warning(problem)
    return {"_error": problem}


class OutputListing(TypedDict):
    """The listing's URI, its SHA-256 and its number of objects; it has a line of URI, size and ETag for each object."""

    uri: str
    sha256: str
    object_count: int


def write_output_listing(s3: Any, output_uris: Sequence[str]) -> OutputListing:
    """List the objects below ``output_uris`` and write the listing next to the last of them.

    The first listing of a job is kept: a retried task does not record later changes as the job's output.
    """
    uri = f"{output_uris[-1].rstrip('/')}-listing.jsonl"
    place = to_bucket_and_key(uri)
    body = "".join(_format_listing_lines(s3, output_uris)).encode()
    request = {**place, "Body": body, "ContentType": "application/jsonl", "IfNoneMatch": "*"}
    try:
        call_with_retries(s3.put_object, request)
    except ClientError as error:
        if get_error_code(error) != "PreconditionFailed":
            raise
        body = call_with_retries(s3.get_object, place)["Body"].read()
    return OutputListing(uri=uri, sha256=hashlib.sha256(body).hexdigest(), object_count=body.count(b"\n"))


def _format_listing_lines(s3: Any, output_uris: Sequence[str]) -> Iterator[str]:
    for uri in dict.fromkeys(map(to_folder_uri, output_uris)):
        bucket = S3Hook.parse_s3_url(uri)[0]
        for each in list_objects(s3, uri):
            line = [f"s3://{bucket}/{each['Key']}", each["Size"], each["ETag"].strip('"')]
            yield f"{json.dumps(line)}\n"
