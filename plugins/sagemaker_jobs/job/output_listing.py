"""Lists a job's output when it has ended: writes the listing to S3 and returns its digest for XCom.

A later reader of the output can verify that it reads what the job wrote.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, TypedDict

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from botocore.exceptions import ClientError

from sagemaker_jobs.aws import call_with_retries, get_error_code
from sagemaker_jobs.s3 import list_objects, to_bucket_and_key, to_folder_uri

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


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
    try:
        call_with_retries(
            s3.put_object,
            {**place, "Body": body, "ContentType": "application/jsonl", "IfNoneMatch": "*"},
        )
    except ClientError as error:
        if get_error_code(error) != "PreconditionFailed":
            raise
        body = call_with_retries(s3.get_object, place)["Body"].read()
    return OutputListing(uri=uri, sha256=hashlib.sha256(body).hexdigest(), object_count=body.count(b"\n"))


def _format_listing_lines(s3: Any, output_uris: Sequence[str]) -> Iterator[str]:
    for uri in dict.fromkeys(map(to_folder_uri, output_uris)):
        for each in list_objects(s3, uri):
            line = [
                f"s3://{S3Hook.parse_s3_url(uri)[0]}/{each['Key']}",
                each["Size"],
                each["ETag"].strip('"'),
            ]
            yield f"{json.dumps(line)}\n"
