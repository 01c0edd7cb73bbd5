"""Detects files that are not text by their magic bytes."""

from __future__ import annotations

from pathlib import Path

from batch_inference.jobs.common.errors import JoinError

GZIP = b"\x1f\x8b"
ZSTD = b"\x28\xb5\x2f\xfd"
# A text may begin with these letters too.
PARQUET, BZIP2 = b"PAR1", b"BZh"
# Of UTF-8. Arrow skips it at the beginning of any buffer, also one from the middle of a file.
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
ZIP, XZ, NUMPY = b"PK\x03\x04", b"\xfd7zXZ", b"\x93NUMPY"
UTF16_BYTE_ORDER_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}

_BINARY_FORMATS = {
    GZIP: "gzip data",
    ZSTD: "zstd data",
    ZIP: "a zip archive",
    XZ: "xz data",
    BZIP2: "bzip2 data",
    PARQUET: "a Parquet file",
    NUMPY: "a NumPy array",
    **{mark: f"text in {encoding}" for mark, encoding in UTF16_BYTE_ORDER_MARKS.items()},
}


def _is_plain_ascii(head: bytes) -> bool:
    """Whether all bytes are printable ASCII or white space."""
    return all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head)


def check_predictions_are_text(shard: str, predictions: Path) -> None:
    """Raise JoinError for predictions that are not text; otherwise only their count would be reported as wrong."""
    with predictions.open("rb") as file:
        head = file.read(16)
    if head.startswith((PARQUET, BZIP2)) and _is_plain_ascii(head):
        return
    found = next((what for magic, what in _BINARY_FORMATS.items() if head.startswith(magic)), "")
    if found:
        raise JoinError(
            f"shard {shard}: the predictions are {found}, and must be plain utf-8 text. Nothing was joined: the model "
            f"must respond in the format of transform.accept, uncompressed."
        )
