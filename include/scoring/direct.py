"""What a pipeline without `preprocess` cannot ask for, because nothing reads a record before the model does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from include.scoring.config import Pipeline

_ADVICE = "add a preprocess section, or drop it"


def refuse_what_needs_preprocess(pipeline: Pipeline) -> None:
    """Raise ValueError for the first part of the pipeline that only preprocessing can do; says why."""
    problem = next(_problems(pipeline), None)
    if problem is not None:
        raise ValueError(problem)


def _problems(pipeline: Pipeline) -> Iterator[str]:
    """One sentence each: the field, what was found, why it cannot be, what to write."""
    yield from _sections(pipeline)
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
            f"input.escape: found {source.escape!r} without preprocess; the model would be given these quotes as they "
            f"are, and readers of what is published expect doubled ones; add a preprocess section, which doubles them"
        )
    if source.encoding != "utf-8":
        yield (
            f"input.encoding: found {source.encoding} without preprocess; the model would be given these bytes as they "
            f"are; add a preprocess section, which writes utf-8"
        )
    if source.compression not in ("none", "gzip"):
        yield (
            f"input.compression: found {source.compression} without preprocess; SageMaker is told one CompressionType, "
            f"None or Gzip, for all objects; write none or gzip, or add a preprocess section"
        )
    optional = [column.name for column in source.columns if column.optional]
    if optional:
        yield (
            f"input.columns: found the optional column {optional[0]!r} without preprocess; the model would be given "
            f"records with it and without it; drop optional, or add a preprocess section, which chooses the columns"
        )


def _sections(pipeline: Pipeline) -> Iterator[str]:
    needs = {
        "rules": (bool(pipeline.rules), "no record is checked before the model sees it"),
        "max_rejected": (pipeline.max_rejected is not None, "no record is checked, so none is rejected"),
        "baseline": (bool(pipeline.baseline), "no record is read before the model sees it"),
        "join.processing_above": (
            pipeline.join.processing_above is not None,
            "that job shares out the shards that preprocessing writes, and runs in its image",
        ),
        "impute": (bool(pipeline.impute), "gaps are filled by preprocessing alone"),
        "function": (pipeline.function is not None, "it runs in the preprocessing job"),
        "sensitive": (bool(pipeline.sensitive), "groups are counted by the preprocessing job"),
        "transform.on_poison": (
            "on_poison" in pipeline.transform.model_fields_set and pipeline.transform.on_poison == "reject",
            "only shards whose records were counted are cut to find those that the model refuses, so such a run fails",
        ),
    }
    for name, (stated, why) in needs.items():
        if stated:
            yield f"{name}: found without preprocess; {why}; {_ADVICE}"
    if pipeline.features is not None:
        yield (
            "features: found without preprocess; the model is given each record as it is; choose columns by "
            "transform.input_filter, such as $[1:], or add a preprocess section"
        )
