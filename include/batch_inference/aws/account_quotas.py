"""The account's quotas for instances, from Service Quotas where this role may read them."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook

from batch_inference.aws.optional_calls import CALL_ERRORS, SHORT_TIMEOUTS
from batch_inference.config.pipeline import Pipeline
from batch_inference.config.run_params import RunParams
from batch_inference.planning.clusters.instance_quotas import list_quota_names
from sagemaker_jobs.aws import get_client

log = logging.getLogger(__name__)


def read_quotas(pipeline: Pipeline, params: RunParams) -> dict[str, int]:
    """Quotas by AWS's quota names: the account's own, or those that the pipeline states.

    Quotas that are in neither are left out. When AWS does not answer, that is logged and is not an error: AWS refuses a
    job above its quota when it is submitted, before it costs anything.
    """
    wanted = list_quota_names(pipeline, params)
    stated = {name: number for name, number in pipeline.quotas.items() if name in wanted}
    hook: Any = AwsBaseHook(
        aws_conn_id=pipeline.aws_conn_id,
        client_type="service-quotas",
        region_name=pipeline.region,
        config=SHORT_TIMEOUTS,
    )
    try:
        found = fetch_account_quotas(get_client(hook), wanted)
    except CALL_ERRORS as error:
        log.warning(
            "the account's quotas are unknown (%s); allow servicequotas:ListServiceQuotas to Airflow's role to plan "
            "within them. Used instead, from the pipeline's quotas: %s",
            error,
            stated or "none",
        )
        return stated
    log.info("the account's quotas: %s", found)
    return {**stated, **found}


def fetch_account_quotas(client: Any, quota_names: Collection[str]) -> dict[str, int]:
    """The account's values of these quotas. SageMaker has thousands: pages are read until all are found."""
    found: dict[str, int] = {}
    for page in client.get_paginator("list_service_quotas").paginate(ServiceCode="sagemaker"):
        values = {each["QuotaName"]: int(each["Value"]) for each in page["Quotas"]}
        found |= {name: value for name, value in values.items() if name in quota_names}
        if len(found) == len(quota_names):
            break
    return found
