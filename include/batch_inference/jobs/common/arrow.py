"""Imports pyarrow, which not every image has."""

from __future__ import annotations

from typing import Any

from batch_inference.jobs.common.errors import ConfigError


def find_arrow() -> Any:
    """Import pyarrow with what text needs of it; None if this image has none."""
    try:
        import pyarrow
        import pyarrow.compute
        import pyarrow.csv
        import pyarrow.json
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
