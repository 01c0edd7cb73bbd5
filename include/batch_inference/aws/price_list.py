"""Prices of the jobs' region from AWS's Price List API, kept in S3 for a week."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import ValidationError

from batch_inference.aws.optional_calls import CALL_ERRORS
from batch_inference.aws.s3 import Storage
from batch_inference.common.names import build_prices_uri
from batch_inference.config.pipeline import Pipeline
from batch_inference.config.run_params import RunParams
from batch_inference.planning.clusters.instance_quotas import list_run_types
from batch_inference.pricing.costs import Prices, load_prices
from batch_inference.pricing.price_list import (
    build_product_requests,
    choose_endpoint_region,
    parse_price_list,
)
from sagemaker_jobs.aws import get_client

log = logging.getLogger(__name__)

#: AWS changes prices a few times a year.
MAX_AGE = timedelta(days=7)
#: A private network has no route to the API, which has no endpoint for one; a plan does not wait long for that.
_TIMEOUTS = Config(connect_timeout=3, read_timeout=20, retries={"total_max_attempts": 2, "mode": "standard"})


class PriceListFormError(Exception):
    """AWS's answer cannot be read as a price list."""


#: Errors for a price list that AWS does not send, refuses, or sends in an unknown form.
PRICE_LIST_ERRORS = (*CALL_ERRORS, PriceListFormError)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPrices:
    """Prices for a plan; `note` is a sentence that says why they are not AWS's of today. `is_new`: not yet in S3."""

    prices: Prices
    note: str | None = None
    is_new: bool = False


def find_prices(storage: Storage, pipeline: Pipeline, params: RunParams, region: str) -> FoundPrices:
    """The prices of a region: those in S3, else AWS's price list of today, else the table of this package.

    AWS is not asked where the pipeline file states all prices. No error of AWS's is raised.
    """
    if set(list_run_types(pipeline, params)) <= set(pipeline.prices):
        return FoundPrices(prices=load_prices())
    today = datetime.now(UTC).date()
    kept = _read_kept_prices(storage, _build_uri(pipeline, region), region)
    if kept is not None and today - kept.as_of <= MAX_AGE:
        return FoundPrices(prices=kept)
    try:
        found = fetch_prices(pipeline.aws_conn_id, region, today)
    except PRICE_LIST_ERRORS as error:
        reason = explain_failure(error)
    else:
        if found.per_hour:
            log.info("read AWS's price list of %s: %d instance types", region, len(found.per_hour))
            return FoundPrices(prices=found, is_new=True)
        reason = f"it lists no instance of {region}"
    if kept is not None:
        note = f"Costs use AWS's price list of {region} as of {kept.as_of}, as it cannot be read today: {reason}."
        return FoundPrices(prices=kept, note=note)
    table = load_prices()
    used = f"this package's prices of {table.region} as of {table.as_of}"
    return FoundPrices(prices=table, note=f"Costs use {used}, as AWS's price list cannot be used: {reason}.")


def keep_prices(storage: Storage, pipeline: Pipeline, found: FoundPrices) -> None:
    """Keep new prices in S3 for later plans; that S3 refuses it is logged only."""
    if not found.is_new:
        return
    uri = _build_uri(pipeline, found.prices.region)
    try:
        storage.write_json(uri, found.prices.model_dump(mode="json"))
    except CALL_ERRORS as error:
        log.warning("the prices are read again with each plan, as they cannot be kept at %s: %s", uri, error)


def fetch_prices(aws_conn_id: str | None, region: str, today: date) -> Prices:
    """AWS's price list of a region.

    Raises:
        ClientError, BotoCoreError: AWS refuses it, or does not answer.
        PriceListFormError: AWS's answer has an unknown form.
    """
    hook: Any = AwsBaseHook(
        aws_conn_id=aws_conn_id,
        client_type="pricing",
        region_name=choose_endpoint_region(region),
        config=_TIMEOUTS,
    )
    client = get_client(hook)
    try:
        return parse_price_list(list_products(client, region), region=region, as_of=today)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise PriceListFormError(f"{type(error).__name__}: {error}") from error


def list_products(client: Any, region: str) -> Iterator[str]:
    """The documents of the price list about the instances of a region, page by page."""
    for request in build_product_requests(region):
        for page in client.get_paginator("get_products").paginate(**request):
            yield from page["PriceList"]


def _build_uri(pipeline: Pipeline, region: str) -> str:
    return build_prices_uri(work=pipeline.work, pipeline=pipeline.name, region=region)


def _read_kept_prices(storage: Storage, uri: str, region: str) -> Prices | None:
    """The prices that a plan kept in S3; None where there are none, or they cannot be used."""
    try:
        stored = storage.read_json_with_etag(uri)
        if stored is None:
            return None
        kept = Prices.model_validate(stored[0])
    except (ClientError, BotoCoreError) as error:
        log.warning("the prices at %s cannot be read: %s", uri, error)
        return None
    except (ValidationError, json.JSONDecodeError, UnicodeDecodeError) as error:
        log.warning("the prices at %s cannot be used, and are read anew: %s", uri, error)
        return None
    return kept if kept.region == region else None


def explain_failure(error: Exception) -> str:
    """Why the price list cannot be read, and what to do."""
    if isinstance(error, ClientError):
        code = error.response["Error"]["Code"]
        if "AccessDenied" in code or "Unauthorized" in code:
            return f"{code}, allow pricing:GetProducts to Airflow's role"
        return f"{code}, {error.response['Error'].get('Message') or 'without a message'}".rstrip(".")
    if isinstance(error, PriceListFormError):
        return f"its answer has an unknown form ({error})"
    return f"no answer ({type(error).__name__})"
