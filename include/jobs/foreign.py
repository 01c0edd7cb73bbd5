"""Files that are not text, told by their first bytes."""

from __future__ import annotations

from pathlib import Path

from include.jobs.errors import JoinError

GZIP = b"\x1f\x8b"
ZSTD = b"\x28\xb5\x2f\xfd"
# What a Parquet file goes on with, and bzip2: a text may begin with their first letters.
PARQUET, BZIP2 = b"PAR1", b"BZh"
ZIP, XZ, NUMPY = b"PK\x03\x04", b"\xfd7zXZ", b"\x93NUMPY"
WIDE_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}

_ANSWERS = {
    GZIP: "gzip data",
    ZSTD: "zstd data",
    ZIP: "a zip archive",
    XZ: "xz data",
    BZIP2: "bzip2 data",
    PARQUET: "a Parquet file",
    NUMPY: "a NumPy array",
    **{mark: f"text in {encoding}" for mark, encoding in WIDE_MARKS.items()},
}


def _is_plain(head: bytes) -> bool:
    """Whether there is nothing but letters, signs and white space of ASCII."""
    return all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head)


def check_is_text(shard: str, predictions: Path) -> None:
    """Raise JoinError for predictions that are not text: they would only be counted, and found to be too few."""
    with predictions.open("rb") as file:
        head = file.read(16)
    if head.startswith((PARQUET, BZIP2)) and _is_plain(head):
        return
    found = next((what for magic, what in _ANSWERS.items() if head.startswith(magic)), "")
    if found:
        raise JoinError(
            f"shard {shard}: the predictions are {found}, and must be plain utf-8 text. Nothing was joined: the model "
            f"must answer as transform.accept says, and not packed."
        )
