"""model.tar.gz into /opt/ml/model, as it arrives from S3."""

from __future__ import annotations

import io
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from include.local_aws.runner.failures import ClientFailedError
from include.local_aws.runner.s3 import Address, Bucketeer, S3Error


class PieceReader(io.RawIOBase):
    """A file over pieces of bytes, for tarfile's stream mode."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed names a private protocol
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = piece
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def unpack_model(s3: Bucketeer, uri: str, folder: Path, container: str) -> None:
    """Raises ClientFailedError when the archive cannot be read or is no .tar.gz, or when a member leaves the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        pieces = s3.stream(Address.parse(uri))
        with tarfile.open(fileobj=io.BufferedReader(PieceReader(pieces)), mode="r|gz") as archive:
            archive.extractall(folder, filter="data")
    except S3Error as error:
        raise ClientFailedError(
            f'Failed to download model data for container "{container}" from URL: "{uri}". Please ensure that there is '
            f"an object located at the URL and that the role passed to CreateModel has permissions to download the "
            f"model. ({str(error).splitlines()[0]})"
        ) from error
    except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError) as error:
        raise ClientFailedError(
            f'Failed to extract model data archive for container "{container}" from URL "{uri}". Please ensure that '
            "the object located at the URL is a valid tar.gz archive."
        ) from error
