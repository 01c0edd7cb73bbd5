"""What a job had written when it ended: a listing that is kept in S3, and its digest, which fits into XCom.

Whatever reads a job's output later can so prove that it reads what the job wrote.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, TypedDict

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from botocore.exceptions import ClientError

from sagemaker_jobs.aws import call, error_code
from sagemaker_jobs.progress import folder_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class OutputListing(TypedDict):
    """Where the listing is (a line of URI, size and ETag for each object), its SHA-256, and how many objects it has."""

    uri: str
    sha256: str
    objects: int


def keep_output_listing(s3: Any, output_uris: Sequence[str]) -> OutputListing:
    """List the objects below ``output_uris``, beside the last of which the listing is kept.

    The first listing of a job stays: a task that is tried again does not take what was changed meanwhile for the job's.
    """
    uri = f"{output_uris[-1].rstrip('/')}-listing.jsonl"
    bucket, key = S3Hook.parse_s3_url(uri)
    body = "".join(_lines(s3, output_uris)).encode()
    try:
        call(
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
        if error_code(error) != "PreconditionFailed":
            raise
        body = call(s3.get_object, {"Bucket": bucket, "Key": key})["Body"].read()
    return OutputListing(uri=uri, sha256=hashlib.sha256(body).hexdigest(), objects=body.count(b"\n"))


def _lines(s3: Any, output_uris: Sequence[str]) -> Iterator[str]:
    for uri in dict.fromkeys(map(folder_of, output_uris)):
        bucket, prefix = S3Hook.parse_s3_url(uri)
        wanted: dict[str, Any] = {"Bucket": bucket, "Prefix": prefix}
        while True:
            page = call(s3.list_objects_v2, wanted)
            for each in page.get("Contents", []):
                line = [f"s3://{bucket}/{each['Key']}", each["Size"], each["ETag"].strip('"')]
                yield f"{json.dumps(line)}\n"
            if not page.get("IsTruncated"):
                break
            wanted["ContinuationToken"] = page["NextContinuationToken"]
