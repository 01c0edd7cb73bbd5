"""Loads what pipelines cost: one GET for each pipeline and month, of a document that has the sums by day.

No run is listed, in S3 or in Airflow's database. A document is kept with its ETag, and asked for again after some
seconds; S3 then answers only whether it has changed.
"""

from __future__ import annotations

import json
import logging
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any

from airflow.models.serialized_dag import SerializedDagModel
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from botocore.config import Config
from botocore.exceptions import ClientError, NoCredentialsError
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from batch_inference.aws.s3 import is_not_found, to_bucket_and_key
from batch_inference.common.names import CostPaths
from batch_inference.pricing.run_costs import CostDay, ScheduledRuns, read_days
from batch_inference.reporting.cost_overview import PipelineCosts
from batch_runs.airflow_state import PipelineDag, PipelinePlace, read_pipeline_place
from batch_runs.jobs import FAST_FAIL_CONFIG, READ_ERRORS
from sagemaker_jobs.airflow_compat import AirflowException
from sagemaker_jobs.aws import get_client

log = logging.getLogger(__name__)

READ_THREADS = 16
#: Seconds for which a document is not asked for again.
FRESH_SECONDS = 15.0
#: Documents that are kept: those of three months of some hundred pipelines.
MAX_DOCUMENTS = 1500
#: Seconds for which a client is kept: its connection's credentials may change.
CLIENT_SECONDS = 60
#: A month of a thousand runs has some hundred kB; a larger object is not a month's costs.
MAX_DOCUMENT_BYTES = 20_000_000
MAX_PLACES = 1000
#: Answers of S3 about a bucket that was deleted, or is no longer shared with Airflow.
GONE_CODES = frozenset({"NoSuchBucket", "AccessDenied", "AllAccessDisabled", "InvalidAccessKeyId"})
S3_CONFIG = FAST_FAIL_CONFIG.merge(Config(max_pool_connections=READ_THREADS))

Month = tuple[Sequence[CostDay], ScheduledRuns]
NO_COSTS: Month = ((), ScheduledRuns())


@dataclass(frozen=True, slots=True)
class _Document:
    """A month as it was read; `etag` is None where there was none."""

    etag: str | None
    month: Month
    read_at: float


_documents: OrderedDict[str, _Document] = OrderedDict()
_lock = Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedCosts:
    """What pipelines cost, and which of them are in no sum.

    Attributes:
        problems: a sentence for each pipeline whose costs cannot be read.
        left_out: the same by DAG id of those that Airflow has no file of any more, whose connection, bucket, permission
            or DAG is gone as well: that is so for good.
    """

    costs: Sequence[PipelineCosts]
    problems: Sequence[str]
    left_out: Mapping[str, str]


def load_costs(session: Session, dags: Iterable[PipelineDag], months: Sequence[str]) -> LoadedCosts:
    """The costs of these pipelines in these months."""
    known = {dag.dag_id: dag for dag in dags}
    problems: list[str] = []
    left_out: dict[str, str] = {}

    def note(dag_id: str, error: Exception, *, is_lasting: bool) -> None:
        log.warning("cannot read the costs of %s: %s", dag_id, error)
        if is_lasting and known[dag_id].is_gone:
            left_out[dag_id] = (
                f"{dag_id}, whose file is gone, is in no sum and not in the CSV, as its costs cannot be read any "
                f"more: {error}"
            )
        else:
            problems.append(f"The costs of {dag_id} cannot be read, and no sum contains them: {error}")

    clients: dict[str, tuple[CostPaths, Any]] = {}
    for dag_id, place in read_places(session, known).items():
        try:
            if isinstance(place, ValueError):
                raise place
            window = int(time.time() / CLIENT_SECONDS)
            client = _open_client(place.aws_conn_id, place.region, window)
            clients[dag_id] = CostPaths(place.runs_prefix), client
        except READ_ERRORS as error:
            note(dag_id, error, is_lasting=True)
    asked = [(dag_id, month) for dag_id in clients for month in months]
    with ThreadPoolExecutor(READ_THREADS) as pool:
        found = list(pool.map(lambda each: _try_to_read(*clients[each[0]], each[1]), asked))
    by_dag: dict[str, dict[str, Month]] = {}
    for (dag_id, month), result in zip(asked, found, strict=True):
        if isinstance(result, Exception):
            note(dag_id, result, is_lasting=_is_place_gone(result))
        else:
            by_dag.setdefault(dag_id, {})[month] = result
    costs = [
        PipelineCosts(
            dag_id=dag_id,
            team=known[dag_id].team,
            days={month: days for month, (days, _) in read.items()},
            scheduled={month: scheduled for month, (_, scheduled) in read.items()},
            next_run_at=None if known[dag_id].is_paused else known[dag_id].next_run_after,
        )
        for dag_id, read in by_dag.items()
        if dag_id not in left_out
    ]
    return LoadedCosts(costs=costs, problems=list(dict.fromkeys(problems)), left_out=left_out)


def _is_place_gone(error: Exception) -> bool:
    """Whether there is no bucket, or nothing that lets Airflow read it: to ask again is of no use."""
    if isinstance(error, ClientError):
        return error.response["Error"]["Code"] in GONE_CODES
    # Without its connection, a pipeline is asked for with Airflow's own credentials, if it has any.
    return isinstance(error, NoCredentialsError | AirflowException)


def read_places(session: Session, dag_ids: Iterable[str]) -> dict[str, PipelinePlace | ValueError]:
    """Where each pipeline's files are, or why that is not known. A DAG is read again only when it has changed."""
    ids = list(dag_ids)
    newest = (
        select(SerializedDagModel.dag_id, func.max(SerializedDagModel.created_at).label("created_at"))
        .where(SerializedDagModel.dag_id.in_(ids))
        .group_by(SerializedDagModel.dag_id)
        .subquery()
    )
    hashes = session.execute(
        select(SerializedDagModel.dag_id, SerializedDagModel.dag_hash).join(
            newest,
            (SerializedDagModel.dag_id == newest.c.dag_id)
            & (SerializedDagModel.created_at == newest.c.created_at),
        )
    )
    found: Mapping[str, str] = {row.dag_id: row.dag_hash for row in hashes}
    places: dict[str, PipelinePlace | ValueError] = {}
    for dag_id in ids:
        key = dag_id, found.get(dag_id)
        with _lock:
            place = _places.get(key)
        if place is None:
            try:
                place = read_pipeline_place(session, dag_id)
            except ValueError as error:
                places[dag_id] = error
                continue
            with _lock:
                _places[key] = place
                while len(_places) > MAX_PLACES:
                    _places.popitem(last=False)
        places[dag_id] = place
    return places


_places: OrderedDict[tuple[str, str | None], PipelinePlace] = OrderedDict()


@lru_cache(maxsize=16)
def _open_client(aws_conn_id: str, region: str | None, window: int) -> Any:  # noqa: ARG001 - credentials may be new
    return get_client(S3Hook(aws_conn_id=aws_conn_id, region_name=region, config=S3_CONFIG))


def _try_to_read(paths: CostPaths, client: Any, month: str) -> Month | Exception:
    try:
        return _read_month(client, paths.build_month_uri(month))
    except READ_ERRORS as error:
        return error


def _read_month(client: Any, uri: str) -> Month:
    with _lock:
        known = _documents.get(uri)
    now = time.monotonic()
    if known is not None and now - known.read_at < FRESH_SECONDS:
        return known.month
    condition = {} if known is None or known.etag is None else {"IfNoneMatch": known.etag}
    try:
        answer = client.get_object(**to_bucket_and_key(uri), **condition)
    except ClientError as error:
        if is_not_found(error):
            return _keep(uri, _Document(None, NO_COSTS, now))
        if known is None or error.response["Error"]["Code"] not in ("304", "NotModified"):
            raise
        return _keep(uri, _Document(known.etag, known.month, now))
    if answer["ContentLength"] > MAX_DOCUMENT_BYTES:
        raise ValueError(f"{uri} has {answer['ContentLength']:,} bytes; allowed are {MAX_DOCUMENT_BYTES:,}")
    return _keep(uri, _Document(answer["ETag"], read_days(json.loads(answer["Body"].read())), now))


def _keep(uri: str, document: _Document) -> Month:
    with _lock:
        _documents[uri] = document
        _documents.move_to_end(uri)
        while len(_documents) > MAX_DOCUMENTS:
            _documents.popitem(last=False)
    return document.month
