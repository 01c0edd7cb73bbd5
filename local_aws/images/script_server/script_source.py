"""Finds the script of a model: in the model's folder, or in an archive in S3 that the SageMaker SDK uploaded."""

from __future__ import annotations

import importlib
import tempfile
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from local_aws.runner.data.unpacking import read_unpack_limit, unpack_tar_gz

READ_BYTES = 1024 * 1024


def fetch_source_folder(directory: str) -> str:
    """The local folder that SAGEMAKER_SUBMIT_DIRECTORY means; an s3:// archive is fetched and unpacked.

    Raises botocore's ClientError and what `unpack_tar_gz` raises when that fails.
    """
    if not directory.startswith("s3://"):
        return directory.removeprefix("file://")
    boto3: Any = importlib.import_module("boto3")
    where = urlsplit(directory)
    folder = Path(tempfile.mkdtemp(prefix="code-"))
    stored = boto3.client("s3").get_object(Bucket=where.netloc, Key=where.path.lstrip("/"))["Body"]
    unpack_tar_gz(iter(partial(stored.read, READ_BYTES), b""), folder, read_unpack_limit())
    return str(folder)
