"""Where a script lies: a folder of the model, or an archive in S3, as the SageMaker SDK leaves it."""

from __future__ import annotations

import importlib
import tempfile
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from include.local_aws.runner.unpacking import limit_of_container, unpack

READ_BYTES = 1024 * 1024


def source_folder(directory: str) -> str:
    """The local folder that SAGEMAKER_SUBMIT_DIRECTORY means; an s3:// archive is fetched and unpacked.

    Raises botocore's ClientError and what `unpack` raises when that fails.
    """
    if not directory.startswith("s3://"):
        return directory.removeprefix("file://")
    boto3: Any = importlib.import_module("boto3")
    where = urlsplit(directory)
    folder = Path(tempfile.mkdtemp(prefix="code-"))
    stored = boto3.client("s3").get_object(Bucket=where.netloc, Key=where.path.lstrip("/"))["Body"]
    unpack(iter(partial(stored.read, READ_BYTES), b""), folder, limit_of_container())
    return str(folder)
