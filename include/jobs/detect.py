"""Telling the shape of a model's answers from the first shard that has any."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Iterable

from include.jobs.blocks import count_records
from include.jobs.documents import PREDICTIONS, NotJsonError, documents
from include.jobs.errors import ConfigError
from include.jobs.foreign import check_is_text
from include.jobs.join_spec import JoinSpec, ShardFiles, check_sources
from include.jobs.json_reading import decode_answer

_LINES = 100


def detected(spec: JoinSpec, shards: Iterable[ShardFiles]) -> JoinSpec:
    """The specification with `auto` replaced by what the first shard with answers holds, which is said in the log.

    Of `shards` no more are asked for than are looked at.

    Raises:
        ConfigError: the wanted fields cannot be had from that shape.
        JoinError: it is not text.
    """
    if spec.prediction_format != "auto":
        return spec
    for shard in shards:
        check_is_text(shard.name, shard.predictions)
        shape, why = detect(shard.predictions, count_records(shard.records, spec.records_delimiter))
        if shape:
            print(f"predictions of shard {shard.name} read as {shape}: {why}", flush=True)
            problem = check_sources(shape, spec.fields)
            if problem:
                raise ConfigError(f"the predictions of shard {shard.name} are {shape} ({why}); {problem}")
            return replace(spec, prediction_format=shape)
    return replace(spec, prediction_format="jsonlines")  # without any answer the shape is all the same


def detect(path: Path, records: int) -> tuple[str, str]:
    """The format of a file of answers to so many records, and what tells it; two empty texts when there are none.

    Arrays a line are one answer each if they are as many as records, else each is a batch of answers.
    """
    with path.open("rb") as file:
        lines = [line.strip() for line in islice(iter(lambda: file.readline(1 << 20), b""), _LINES)]
    lines = [line for line in lines if line]
    if not lines:
        return "", ""
    values = [_decoded(line) for line in lines]
    if all(isinstance(value, dict) and not isinstance(value.get(PREDICTIONS), list) for value in values):
        return "jsonlines", "each line is a JSON object"
    if all(isinstance(value, list) for value in values) and count_records(path, None) == records:
        return "jsonlines", "each line is a JSON array, one a record"
    if lines[0][:1] in (b"{", b"["):
        try:
            with path.open("rb") as file:
                first: Any = next(documents(file))
        except (NotJsonError, StopIteration):
            return "csv", "it begins like JSON and is none"
        if isinstance(first, dict) and PREDICTIONS in first:
            return "json", f"it begins with a JSON document that has {PREDICTIONS!r}"
        return "json", "it begins with a JSON document"
    return "csv", "its lines are no JSON objects or arrays"


def _decoded(line: bytes) -> Any:
    try:
        return decode_answer(line.decode("utf-8"))
    except ValueError:
        return None
