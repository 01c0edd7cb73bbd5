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
    table_name = f"{wanted.database}.{wanted.table}"
    if values is None:
        log.info("%s is outside of the table %s, so it is not registered", output_uri, table_name)
        return None
    hook = GlueCatalogHook(aws_conn_id=pipeline.aws_conn_id, region_name=pipeline.region)  # type: ignore[no-untyped-call]
    client = get_client(hook)
    where = {"DatabaseName": wanted.database}
    columns, file_format = pipeline.output_columns, pipeline.join.format
    table = build_table_input(wanted.table, pipeline.output.uri, file_format, columns)
    if not _is_refused_as_existing(client.create_table, **where, TableInput=table):
        log.info("created the table %s", table_name)
    descriptor = build_storage_descriptor(output_uri, file_format, columns)
    partition: dict[str, Any] = {**where, "TableName": wanted.table}
    partition["PartitionInput"] = {"Values": values, "StorageDescriptor": descriptor}
    if _is_refused_as_existing(client.create_partition, **partition):
        client.update_partition(**partition, PartitionValueList=values)
    keys = (key["Name"] for key in table["PartitionKeys"])
    path = "/".join(f"{key}={value}" for key, value in zip(keys, values, strict=True))
    return f"{table_name}/{path}"


def _is_refused_as_existing(create: Any, **request: Any) -> bool:
    """Call AWS; whether it answered that what is to be created exists."""
    try:
        create(**request)
    except ClientError as error:
        if error.response["Error"]["Code"] != "AlreadyExistsException":
            raise
        return True
    return False
