"""Imports pyarrow, which not every image has, and reads its columns."""

from __future__ import annotations

from typing import Any

import numpy as np

from batch_inference.jobs.common.errors import ConfigError


def find_arrow() -> Any:
    """Import pyarrow with its CSV reader; None if this image has none."""
    try:
        import pyarrow
        import pyarrow.csv
    except ImportError:
        return None
    return pyarrow


def require_arrow(sentence_start: str) -> Any:
    """Import pyarrow with Parquet; `sentence_start` says what needs it, such as "input.format is parquet".

    Raises:
        ConfigError: this image does not have it. Called before data is read.
    """
    try:
        import pyarrow.parquet  # noqa: F401 - it becomes an attribute of pyarrow
    except ImportError as error:
        raise ConfigError(
            f"{sentence_start}, which needs pyarrow, and this image has none; name an image with pyarrow in "
            "preprocess.image, or ship it in preprocess.wheels"
        ) from error
    return find_arrow()


def read_numbers(column: Any) -> np.ndarray:
    """Read a column of int64 or float64 as float64; what stands where it has nulls is not defined.

    Not by its `to_numpy`, which imports pandas, nor by pyarrow.compute: importing them takes long.
    """
    parts = []
    for chunk in column.chunks:
        if len(chunk):
            kind = np.int64 if str(chunk.type) == "int64" else np.float64
            values = np.frombuffer(chunk.buffers()[1], dtype=kind)[chunk.offset : chunk.offset + len(chunk)]
            parts.append(values.astype(np.float64, copy=False))
    return np.concatenate(parts) if parts else np.empty(0)
