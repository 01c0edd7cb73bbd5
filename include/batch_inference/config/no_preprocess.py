"""Refuses keys that need `preprocess` in a pipeline without it, where nothing reads a record before the model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batch_inference.config.pipeline import Pipeline

_ADVICE = "add a preprocess section, or drop it"


def check_without_preprocess(pipeline: Pipeline) -> None:
    """Raise ValueError with the reason for the first key that needs preprocess."""
    problem = next(_find_problems(pipeline), None)
    if problem is not None:
        raise ValueError(problem)


def _find_problems(pipeline: Pipeline) -> Iterator[str]:
    """A sentence for each problem: field, value found, reason, what to write."""
    yield from _find_section_problems(pipeline)
    source = pipeline.input
    if source.format == "parquet":
        yield (
            "input.format: found parquet without preprocess; Batch Transform splits its input at line ends, and "
            "Parquet has none; add a preprocess section, which writes the records as lines"
        )
    if source.header:
        yield (
            "input.header: found true without preprocess; SageMaker would send the line of column names to the model "
            "as a record; add a preprocess section, which removes it, or upload the objects without it"
        )
    if source.escape is not None:
        yield (
            f"input.escape: found {source.escape!r} without preprocess; the model would read the escaped quotes, and "
            f"readers of the output expect doubled ones; add a preprocess section, which doubles them"
        )
    if source.encoding != "utf-8":
        yield (
            f"input.encoding: found {source.encoding} without preprocess; the model would read these bytes; add a "
            f"preprocess section, which writes utf-8"
        )
    if source.compression not in ("none", "gzip"):
        yield (
            f"input.compression: found {source.compression} without preprocess; SageMaker has one CompressionType, "
            f"None or Gzip, for all objects; write none or gzip, or add a preprocess section"
        )
    optional = [column.name for column in source.columns if column.optional]
    if optional:
        yield (
            f"input.columns: found the optional column {optional[0]!r} without preprocess; the model would read "
            f"records with it and without it; drop optional, or add a preprocess section, which selects the columns"
        )


def _find_section_problems(pipeline: Pipeline) -> Iterator[str]:
    sections = {
        "rules": (bool(pipeline.rules), "no record is checked before the model sees it"),
        "max_rejected": (pipeline.max_rejected is not None, "no record is checked, so none is rejected"),
        "baseline": (bool(pipeline.baseline), "no record is read before the model sees it"),
        "join.processing_above": (
            pipeline.join.processing_above is not None,
            "that job reads the shards of preprocess, and runs in its image",
        ),
        "impute": (bool(pipeline.impute), "empty cells are filled by preprocess"),
        "function": (pipeline.function is not None, "it runs in the preprocessing job"),
        "sensitive": (bool(pipeline.sensitive), "groups are counted by the preprocessing job"),
        "transform.on_bad_records": (
            "on_bad_records" in pipeline.transform.model_fields_set
            and pipeline.transform.on_bad_records == "reject",
            "refused records are found by splitting shards with known record counts, so such a run fails",
        ),
    }
    for name, (stated, why) in sections.items():
        if stated:
            yield f"{name}: found without preprocess; {why}; {_ADVICE}"
    if pipeline.features is not None:
        yield (
            "features: found without preprocess; the model reads whole records; choose columns with "
            "transform.input_filter, such as $[1:], or add a preprocess section"
        )
