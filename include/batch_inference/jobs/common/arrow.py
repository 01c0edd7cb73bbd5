"""Imports pyarrow, which not every image has."""

from __future__ import annotations

from typing import Any

from batch_inference.jobs.common.errors import ConfigError


def require_arrow(purpose: str) -> Any:
    """Import pyarrow; `purpose` says what needs it, such as "input.format is parquet".

    Raises:
        ConfigError: this image does not have it. Called before data is read.
    """
    try:
        import pyarrow
        import pyarrow.csv
        import pyarrow.json
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigError(
            f"{purpose}, which needs pyarrow, and this image has none; name an image with pyarrow in "
            "preprocess.image, or ship it in preprocess.wheels"
        ) from error
    return pyarrow
