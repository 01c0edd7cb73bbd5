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
from sagemaker_jobs.waiting.transform_progress import to_folder_uri

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
    bucket, key = S3Hook.parse_s3_url(uri)
    body = "".join(_format_listing_lines(s3, output_uris)).encode()
    try:
        call_with_retries(
            s3.put_object,
            {
                "Bucket": bucket,
                "Key": key,
                "Body": body,
                "ContentType": "application/jsonl",
                "IfNoneMatch": "*",
            },
        )
    except ClientError as error:
        if get_error_code(error) != "PreconditionFailed":
            raise
        body = call_with_retries(s3.get_object, {"Bucket": bucket, "Key": key})["Body"].read()
    return OutputListing(uri=uri, sha256=hashlib.sha256(body).hexdigest(), object_count=body.count(b"\n"))


def _format_listing_lines(s3: Any, output_uris: Sequence[str]) -> Iterator[str]:
    for uri in dict.fromkeys(map(to_folder_uri, output_uris)):
        bucket, prefix = S3Hook.parse_s3_url(uri)
        wanted: dict[str, Any] = {"Bucket": bucket, "Prefix": prefix}
        while True:
            page = call_with_retries(s3.list_objects_v2, wanted)
            for each in page.get("Contents", []):
                line = [f"s3://{bucket}/{each['Key']}", each["Size"], each["ETag"].strip('"')]
                yield f"{json.dumps(line)}\n"
            if not page.get("IsTruncated"):
                break
            wanted["ContinuationToken"] = page["NextContinuationToken"]
