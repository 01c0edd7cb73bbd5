"""Reads small JSON files that a processing job wrote, for ``output_files_to_xcom``."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from sagemaker_jobs.aws import call_with_retries, get_error_code
from sagemaker_jobs.errors import RequestError
from sagemaker_jobs.s3 import get_s3_client, to_bucket_and_key

if TYPE_CHECKING:
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
            raise RequestError(f"output_files_to_xcom has {entry!r}; needed are the keys {', '.join(_KEYS)}.")
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
