"""The DAG that `make bench-overhead` compares with: the provider's stock operators, deferrable, and two Python tasks.

It runs the same two jobs as the pipeline; their requests are in a JSON file beside this one. `plan` lists the input,
`join` adds the predictions to the records with pandas. Nothing is checked, retried or cleaned up.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from airflow.providers.amazon.aws.operators.sagemaker import (
    SageMakerProcessingOperator,
    SageMakerTransformOperator,
)
from airflow.sdk import dag, task

REQUESTS = json.loads(Path(__file__).with_suffix(".json").read_text())


def list_keys(s3: Any, bucket: str, prefix: str) -> list[str]:
    """The keys below a prefix."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [each["Key"] for page in pages for each in page.get("Contents", ())]


def make_client() -> Any:
    """An S3 client of the connection."""
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    return S3Hook("aws_default").get_conn()


@task(task_id="plan")
def plan_run(run_id: str) -> str:
    """Write the manifest of the input; returns the prefix of the run's files, relative to the bucket."""
    s3, prefix = make_client(), f"stock/{''.join(filter(str.isalnum, run_id))}/"
    keys = list_keys(s3, REQUESTS["bucket"], REQUESTS["input"])
    manifest = [{"prefix": f"s3://{REQUESTS['bucket']}/"}, *keys]
    s3.put_object(Bucket=REQUESTS["bucket"], Key=f"{prefix}input.manifest", Body=json.dumps(manifest))
    return prefix


@task(task_id="join")
def join_rows(prefix: str) -> str:
    """Add to each record its prediction; returns the key of the Parquet file."""
    import io

    import pandas as pd

    s3, bucket, frames = make_client(), REQUESTS["bucket"], []
    for key in list_keys(s3, bucket, f"{prefix}preprocess/records/"):
        records = pd.read_csv(s3.get_object(Bucket=bucket, Key=key)["Body"], header=None)
        name = key.rsplit("/", 1)[1]
        scored = s3.get_object(Bucket=bucket, Key=f"{prefix}predictions/{name}.out")["Body"].read()
        predictions = pd.read_json(io.BytesIO(scored), lines=True)
        if len(records) != len(predictions):
            raise ValueError(f"{len(records)} records of {name}, {len(predictions)} predictions")
        frames.append(pd.concat([records, predictions], axis=1))
    joined = pd.concat(frames)
    joined.columns = [str(column) for column in joined.columns]
    body, key = io.BytesIO(), f"{prefix}joined.parquet"
    joined.to_parquet(body, index=False)
    s3.put_object(Bucket=bucket, Key=key, Body=body.getvalue())
    return key


@dag(dag_id="stock", schedule=None)
def build_stock_dag() -> None:
    """The four tasks, one after the other."""
    waits: dict[str, Any] = {"deferrable": True, "check_interval": REQUESTS["poll_seconds"]}
    planned = plan_run()  # type: ignore[call-arg,misc]  # Airflow passes the run's id
    preprocess = SageMakerProcessingOperator(task_id="preprocess", config=REQUESTS["preprocess"], **waits)
    transform = SageMakerTransformOperator(task_id="transform", config=REQUESTS["transform"], **waits)
    planned >> preprocess >> transform >> join_rows(planned)  # type: ignore[arg-type]  # an XCom


build_stock_dag()
