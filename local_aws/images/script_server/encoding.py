"""The default codecs of sagemaker-containers (`_encoders.py`): CSV, JSON and NPY to numpy and back."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

JSON, CSV, NPY = "application/json", "text/csv", "application/x-npy"
TEXT_TYPES = (JSON, CSV)


class UnsupportedFormatError(Exception):
    """There is no default codec for this content type."""


def add_charset(content_type: str) -> str:
    """Flask, which serves AWS's image, adds the charset to every text type."""
    is_bare_text = content_type.startswith("text/") and ";" not in content_type
    return f"{content_type}; charset=utf-8" if is_bare_text else content_type


def decode(data: Any, content_type: str) -> Any:
    import numpy as np  # a script with functions of its own may never need it

    if content_type == CSV:
        rows = list(
            csv.reader(io.StringIO(data), delimiter=",", quotechar='"', doublequote=True, strict=True)
        )
        return np.array(rows).squeeze()
    if content_type == JSON:
        return np.array(json.loads(data))
    if content_type == NPY:
        return np.load(io.BytesIO(data), allow_pickle=False)
    raise UnsupportedFormatError(content_type)


def encode(value: Any, content_type: str) -> bytes:
    import numpy as np

    if content_type == CSV:
        table = np.array(value)
        if table.ndim < 2:
            table = table.reshape(-1, 1)
        text = io.StringIO()
        csv.writer(text, lineterminator="\n", strict=True).writerows(table.tolist())
        return text.getvalue().encode()
    if content_type == JSON:
        return json.dumps(value, default=lambda item: item.tolist()).encode()
    if content_type == NPY:
        out = io.BytesIO()
        np.save(out, value)
        return out.getvalue()
    raise UnsupportedFormatError(content_type)
