"""Builds the Glue table of the published data: its columns, and the partition of each run.

Partition keys come from the output's URI in Hive's form: `date={date}` is the partition key `date`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from batch_inference.common.s3_uri import ensure_trailing_slash
from batch_inference.config.validation_errors import FieldError

_PARTITION = re.compile(r"([a-z_][a-z0-9_]*)=\{\w+\}")
#: Glue type by column type; a decimal has the name of its own type. Tables have one kind of timestamp.
GLUE_TYPES = {
    "string": "string",
    "integer": "bigint",
    "float": "double",
    "json": "string",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp",
    "timestamptz": "timestamp",
}
#: Types that the SerDe of JSON Lines reads; all others stay as written there, and are columns of strings.
_JSON_TYPES = ("string", "integer", "float", "json")
_PARQUET = "org.apache.hadoop.hive.ql.io.parquet"
#: Input format, output format and SerDe by format of the published files, as Athena documents them. None of the SerDes
#: for CSV supports both quotes and empty numbers.
STORAGE_FORMATS: Mapping[str, tuple[str, str, str]] = {
    "parquet": (
        f"{_PARQUET}.MapredParquetInputFormat",
        f"{_PARQUET}.MapredParquetOutputFormat",
        f"{_PARQUET}.serde.ParquetHiveSerDe",
    ),
    "jsonlines": (
        "org.apache.hadoop.mapred.TextInputFormat",
        "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat",
        "org.openx.data.jsonserde.JsonSerDe",
    ),
}


def check_glue_table(output_uri: str, file_format: str, columns: Mapping[str, str]) -> None:
    """Raise ValueError when the output cannot be a partitioned table of the catalog.

    `columns` are those of the published rows, with their types.
    """
    if file_format not in STORAGE_FORMATS:
        raise FieldError(
            "output.glue_table",
            f"found join.format {file_format}; allowed are {' and '.join(STORAGE_FORMATS)}, "
            f"because no table of the catalog reads {file_format} with quotes and missing numbers",
        )
    root, keys = parse_table_location(output_uri)
    if not keys or f"{root}{'/'.join(f'{key}={{}}' for key in keys)}/" != re.sub(
        r"\{\w+\}", "{}", ensure_trailing_slash(output_uri)
    ):
        raise FieldError(
            "output.glue_table",
            f"found output.uri {output_uri!r}; allowed is one whose last folders are partitions, "
            f"such as s3://bucket/scored/date={{date}}/, with placeholders nowhere else",
        )
    twice = sorted(set(keys) & {name.lower() for name in columns})
    if twice:
        raise FieldError(
            "output.glue_table",
            f"found {twice[0]!r} as a partition of output.uri and as a column; rename the column",
        )


def parse_table_location(output_uri: str) -> tuple[str, tuple[str, ...]]:
    """The location of the table, and its partition keys, from a pipeline's output URI."""
    folder = ensure_trailing_slash(output_uri)
    segments = folder.rstrip("/").split("/")
    first = next(
        (number for number, segment in enumerate(segments) if _PARTITION.fullmatch(segment)), len(segments)
    )
    keys = tuple(found[1] for segment in segments[first:] if (found := _PARTITION.fullmatch(segment)))
    return "/".join(segments[:first]) + "/", keys


def parse_partition_values(output_uri: str, output_template: str) -> list[str] | None:
    """The values of the partition keys in the output URI of a run; None when it is not a partition of the table."""
    root, keys = parse_table_location(output_template)
    folder = ensure_trailing_slash(output_uri)
    if not folder.startswith(root):
        return None
    segments = folder.removeprefix(root).rstrip("/").split("/")
    if [segment.partition("=")[0] for segment in segments] != list(keys):
        return None
    return [segment.partition("=")[2] for segment in segments]


def build_table_input(
    name: str, output_template: str, file_format: str, columns: Mapping[str, str]
) -> dict[str, Any]:
    """Glue's TableInput."""
    root, keys = parse_table_location(output_template)
    return {
        "Name": name,
        "TableType": "EXTERNAL_TABLE",
        "Parameters": {
            "EXTERNAL": "TRUE",
            "classification": "parquet" if file_format == "parquet" else "json",
        },
        "PartitionKeys": [{"Name": key, "Type": "string"} for key in keys],
        "StorageDescriptor": build_storage_descriptor(root, file_format, columns),
    }


def build_storage_descriptor(location: str, file_format: str, columns: Mapping[str, str]) -> dict[str, Any]:
    """Glue's StorageDescriptor of a table or of one partition."""
    input_format, output_format, serde = STORAGE_FORMATS[file_format]
    return {
        "Columns": [
            {"Name": name.lower(), "Type": _get_glue_type(kind, file_format)}
            for name, kind in columns.items()
        ],
        "Location": location,
        "InputFormat": input_format,
        "OutputFormat": output_format,
        "SerdeInfo": {"SerializationLibrary": serde},
    }


def _get_glue_type(column_type: str, file_format: str) -> str:
    if file_format == "jsonlines" and column_type not in _JSON_TYPES:
        return "string"
    return GLUE_TYPES.get(column_type, column_type)
