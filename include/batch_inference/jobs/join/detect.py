"""Detects the format of the predictions from the first shard that has any."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Iterable, NamedTuple

from batch_inference.jobs.common.binary_formats import check_predictions_are_text
from batch_inference.jobs.common.blocks import count_records
from batch_inference.jobs.common.errors import ConfigError
from batch_inference.jobs.common.json_reading import decode_prediction
from batch_inference.jobs.config.join_spec import JoinSpec, ShardFiles
from batch_inference.jobs.join.json_stream import PREDICTIONS_KEY, NotJsonError, iter_documents

_SAMPLE_LINES = 100


class DetectedFormat(NamedTuple):
    """The format of predictions and why it was taken; both empty if there are none."""

    format: str
    reason: str


def resolve_prediction_format(spec: JoinSpec, shards: Iterable[ShardFiles]) -> JoinSpec:
    """Replace the prediction format `auto` by that of the first shard with predictions, which is logged.

    No more of `shards` are read than needed.

    Raises:
        ConfigError: the prediction fields cannot be read from that format.
        JoinError: the predictions are not text.
    """
    if spec.predictions.format != "auto":
        return spec
    detected_format = ""
    for shard in shards:
        check_predictions_are_text(shard.name, shard.predictions_path)
        detected_format, reason = detect_prediction_format(
            shard.predictions_path, count_records(shard.records_path, spec.records_delimiter)
        )
        if detected_format:
            print(f"predictions of shard {shard.name} read as {detected_format}: {reason}", flush=True)
            paths = (field.path for field in spec.prediction_fields)
            name = next((path for path in paths if not re.fullmatch(r"-?\d+", path)), None)
            if detected_format == "csv" and name is not None:
                raise ConfigError(
                    f"the predictions of shard {shard.name} are csv ({reason}); a CSV prediction has no names, so its "
                    f"fields are positions such as '0', not {name!r}"
                )
            break
    # Without predictions the format does not matter.
    prediction_format: Any = detected_format or "jsonlines"
    return replace(spec, predictions=replace(spec.predictions, format=prediction_format))


def detect_prediction_format(path: Path, record_count: int) -> DetectedFormat:
    """Detect the format of a file of predictions.

    Lines with arrays are one prediction each if they are `record_count`, else each is a batch of predictions.
    """
    with path.open("rb") as file:
        lines = [line.strip() for line in islice(iter(lambda: file.readline(1 << 20), b""), _SAMPLE_LINES)]
    lines = [line for line in lines if line]
    if not lines:
        return DetectedFormat("", "")
    values = [_decode_or_none(line) for line in lines]
    if all(isinstance(value, dict) and not isinstance(value.get(PREDICTIONS_KEY), list) for value in values):
        return DetectedFormat("jsonlines", "each line is a JSON object")
    if all(isinstance(value, list) for value in values) and count_records(path, None) == record_count:
        return DetectedFormat("jsonlines", "each line is a JSON array, one a record")
    if lines[0][:1] in (b"{", b"["):
        try:
            with path.open("rb") as file:
                first: Any = next(iter_documents(file))
        except (NotJsonError, StopIteration):
            return DetectedFormat("csv", "it begins like JSON but is not JSON")
        if isinstance(first, dict) and PREDICTIONS_KEY in first:
            return DetectedFormat("json", f"it begins with a JSON document that has {PREDICTIONS_KEY!r}")
        return DetectedFormat("json", "it begins with a JSON document")
    return DetectedFormat("csv", "its lines are not JSON objects or arrays")


def _decode_or_none(line: bytes) -> Any:
    try:
        return decode_prediction(line.decode("utf-8"))
    except ValueError:
        return None
