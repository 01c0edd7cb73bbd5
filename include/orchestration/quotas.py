"""The account's quotas for instances, from Service Quotas where this role may read them."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook

from include.orchestration.optional_calls import IMPATIENT, NO_ANSWER
from include.scoring.config import Pipeline
from include.scoring.params import RunParams
from include.scoring.quotas import quota_names
from sagemaker_jobs.aws import client_of

log = logging.getLogger(__name__)


def quotas_of(pipeline: Pipeline, params: RunParams) -> dict[str, int]:
    """Quotas by AWS's names: the account's as AWS says them, else those that the pipeline states.

    What neither knows is left out. That AWS does not answer is logged and no failure: a job above its quota is refused
    by AWS when it is submitted, before it costs anything.
    """
    wanted = quota_names(pipeline, params)
    stated = {name: number for name, number in pipeline.quotas.items() if name in wanted}
    hook: Any = AwsBaseHook(
        aws_conn_id=pipeline.aws_conn_id,
        client_type="service-quotas",
        region_name=pipeline.region,
        config=IMPATIENT,
    )
    try:
        found = account_quotas(client_of(hook), wanted)
    except NO_ANSWER as error:
        log.warning(
            "the account's quotas are unknown (%s); allow servicequotas:ListServiceQuotas to Airflow's role to plan "
            "within them. Used instead, from the pipeline's quotas: %s",
            error,
            stated or "none",
        )
        return stated
    log.info("the account's quotas: %s", found)
    return {**stated, **found}


def account_quotas(client: Any, wanted: Collection[str]) -> dict[str, int]:
    """Those of the wanted quotas that the account has. SageMaker has thousands: pages are read until all are found."""
    found: dict[str, int] = {}
    for page in client.get_paginator("list_service_quotas").paginate(ServiceCode="sagemaker"):
        found |= {
            each["QuotaName"]: int(each["Value"]) for each in page["Quotas"] if each["QuotaName"] in wanted
        }
        if len(found) == len(wanted):
            break
    return found
