"""Registers a published output as a partition of a Glue table."""

from __future__ import annotations

import logging
from typing import Any

from airflow.providers.amazon.aws.hooks.glue_catalog import GlueCatalogHook
from botocore.exceptions import ClientError

from batch_inference.config.pipeline import Pipeline
from batch_inference.config.sections.glue_table import (
    build_storage_descriptor,
    build_table_input,
    parse_partition_values,
)
from sagemaker_jobs.aws import get_client

log = logging.getLogger(__name__)


def register_partition(pipeline: Pipeline, output_uri: str) -> str | None:
    """Create or update the partition of the run's output, and the pipeline's table if it does not exist.

    Returns the partition, such as `scored.churn/date=2026-01-31`; None when the pipeline has no table, or the run
    published outside of it.
    """
    wanted = pipeline.output.glue_table
    if wanted is None:
        return None
    values = parse_partition_values(output_uri, pipeline.output.uri)
    if values is None:
        log.info(
            "%s is outside of the table %s.%s, so it is not registered",
            output_uri,
            wanted.database,
            wanted.table,
        )
        return None
    hook = GlueCatalogHook(aws_conn_id=pipeline.aws_conn_id, region_name=pipeline.region)  # type: ignore[no-untyped-call]
    client = get_client(hook)
    where = {"DatabaseName": wanted.database}
    columns, file_format = pipeline.output_columns, pipeline.join.format
    table = build_table_input(wanted.table, pipeline.output.uri, file_format, columns)
    if _call_or_catch(client.create_table, "AlreadyExistsException", **where, TableInput=table) is None:
        log.info("created the table %s.%s", wanted.database, wanted.table)
    partition = {
        "Values": values,
        "StorageDescriptor": build_storage_descriptor(output_uri, file_format, columns),
    }
    where["TableName"] = wanted.table
    if (
        _call_or_catch(client.create_partition, "AlreadyExistsException", **where, PartitionInput=partition)
        is not None
    ):
        client.update_partition(**where, PartitionValueList=values, PartitionInput=partition)
    keys = (key["Name"] for key in table["PartitionKeys"])
    path = "/".join(f"{key}={value}" for key, value in zip(keys, values, strict=True))
    return f"{wanted.database}.{wanted.table}/{path}"


def _call_or_catch(call: Any, code: str, **arguments: Any) -> ClientError | None:
    """Call AWS; returns the error when it has this code, or None on success."""
    try:
        call(**arguments)
    except ClientError as error:
        if error.response["Error"]["Code"] != code:
            raise
        return error
    return None
