"""Where a script lies: a folder of the model, or an archive in S3, as the SageMaker SDK leaves it."""

from __future__ import annotations

import importlib
import tarfile
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


def source_folder(directory: str) -> str:
    """The local folder that SAGEMAKER_SUBMIT_DIRECTORY means; an s3:// archive is fetched and unpacked.

    Raises botocore's ClientError and tarfile.TarError when that fails.
    """
    if not directory.startswith("s3://"):
        return directory.removeprefix("file://")
    boto3: Any = importlib.import_module("boto3")
    where = urlsplit(directory)
    folder = Path(tempfile.mkdtemp(prefix="code-"))
    archive = folder.with_suffix(".tar.gz")
    boto3.client("s3").download_file(where.netloc, where.path.lstrip("/"), str(archive))
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return str(folder)
