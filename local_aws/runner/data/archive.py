"""Unpacks model.tar.gz from S3 into /opt/ml/model, as a stream."""

from __future__ import annotations

import tarfile
import zlib
from pathlib import Path

from local_aws.runner.data.s3_objects import S3_ERRORS, S3Address, S3Storage
from local_aws.runner.data.unpacking import ArchiveTooLargeError, unpack_tar_gz
from local_aws.runner.failures import ClientFailedError


def unpack_model(s3: S3Storage, uri: str, folder: Path, container_name: str, max_bytes: int) -> None:
    """Unpack the archive at `uri` into `folder`, at most `max_bytes` bytes.

    Raises:
        ClientFailedError: it cannot be read, is not a .tar.gz, unpacks to more, or a member leaves the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    message = f'Failed to extract model data archive for container "{container_name}" from URL "{uri}". '
    try:
        unpack_tar_gz(s3.stream_object(S3Address.parse(uri)), folder, max_bytes)
    except ArchiveTooLargeError as error:
        raise ClientFailedError(f"{message}{error}") from error
    except S3_ERRORS as error:
        raise ClientFailedError(
            f'Failed to download model data for container "{container_name}" from URL: "{uri}". '
            "Please ensure that there is an object located at the URL and that the role passed to CreateModel has "
            f"permissions to download the model. ({str(error).splitlines()[0]})"
        ) from error
    except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError) as error:
        raise ClientFailedError(
            f"{message}Please ensure that the object located at the URL is a valid tar.gz archive."
        ) from error
