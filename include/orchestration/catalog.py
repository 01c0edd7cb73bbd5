"""Registering what was published in a Glue data catalog, where the pipeline asks for it."""

from __future__ import annotations

import logging
from typing import Any

from airflow.providers.amazon.aws.hooks.glue_catalog import GlueCatalogHook
from botocore.exceptions import ClientError

from include.scoring.catalog import partition_values, storage_descriptor, table_input
from include.scoring.config import Pipeline
from sagemaker_jobs.aws import client_of

log = logging.getLogger(__name__)


def register(pipeline: Pipeline, output_uri: str) -> str | None:
    """Make the run's output a partition of the pipeline's table, which is made too where it is missing.

    Gives the partition, such as `scored.churn/date=2026-01-31`, or None when there is nothing to register: the pipeline
    names no table, or the run published elsewhere. What is there already is brought up to date.
    """
    wanted = pipeline.output.catalog
    if wanted is None:
        return None
    values = partition_values(output_uri, pipeline.output.uri)
    if values is None:
        log.info(
            "%s is not of the table %s.%s, so it is not registered", output_uri, wanted.database, wanted.table
        )
        return None
    hook = GlueCatalogHook(aws_conn_id=pipeline.aws_conn_id, region_name=pipeline.region)  # type: ignore[no-untyped-call]
    client = client_of(hook)
    where = {"DatabaseName": wanted.database}
    columns, file_format = pipeline.output_columns, pipeline.join.format
    table = table_input(wanted.table, pipeline.output.uri, file_format, columns)
    if _refused(client.create_table, "AlreadyExistsException", **where, TableInput=table) is None:
        log.info("made the table %s.%s", wanted.database, wanted.table)
    partition = {
        "Values": values,
        "StorageDescriptor": storage_descriptor(output_uri, file_format, columns),
    }
    where["TableName"] = wanted.table
    if (
        _refused(client.create_partition, "AlreadyExistsException", **where, PartitionInput=partition)
        is not None
    ):
        client.update_partition(**where, PartitionValueList=values, PartitionInput=partition)
    keys = (key["Name"] for key in table["PartitionKeys"])
    path = "/".join(f"{key}={value}" for key, value in zip(keys, values, strict=True))
    return f"{wanted.database}.{wanted.table}/{path}"


def _refused(call: Any, code: str, **arguments: Any) -> ClientError | None:
    """The error when AWS refuses the call with this code, or None when it was done."""
    try:
        call(**arguments)
    except ClientError as error:
        if error.response["Error"]["Code"] != code:
            raise
        return error
    return None
