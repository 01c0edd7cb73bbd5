"""model.tar.gz into /opt/ml/model, as it arrives from S3."""

from __future__ import annotations

import tarfile
import zlib
from pathlib import Path

from include.local_aws.runner.failures import ClientFailedError
from include.local_aws.runner.s3 import Address, Bucketeer, S3Error
from include.local_aws.runner.unpacking import ArchiveTooLargeError, unpack


def unpack_model(s3: Bucketeer, uri: str, folder: Path, container: str, limit: int) -> None:
    """Unpack it into `folder`, at most `limit` bytes.

    Raises:
        ClientFailedError: it cannot be read, is not a .tar.gz, unpacks to more, or a member leaves the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    refused = f'Failed to extract model data archive for container "{container}" from URL "{uri}". '
    try:
        unpack(s3.stream(Address.parse(uri)), folder, limit)
    except ArchiveTooLargeError as error:
        raise ClientFailedError(f"{refused}{error}") from error
    except S3Error as error:
        raise ClientFailedError(
            f'Failed to download model data for container "{container}" from URL: "{uri}". Please ensure that there is '
            f"an object located at the URL and that the role passed to CreateModel has permissions to download the "
            f"model. ({str(error).splitlines()[0]})"
        ) from error
    except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError) as error:
        raise ClientFailedError(
            f"{refused}Please ensure that the object located at the URL is a valid tar.gz archive."
        ) from error
