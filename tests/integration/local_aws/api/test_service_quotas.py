"""Service Quotas says what CreateProcessingJob and CreateTransformJob enforce."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.local_aws.api.conftest import FAST
from tests.integration.local_aws.api.requests import expect_client_error, processing_request
from tests.integration.local_aws.servers import Server, run_server

pytestmark = pytest.mark.local_only

ACROSS = "Number of instances across all transform jobs"
OF_TYPE = "ml.m5.xlarge for processing job usage"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One with quotas of its own."""
    settings = {
        **FAST,
        "default_instance_quota": 6,
        "transform_instances_quota": 9,
        "instance_quotas": {OF_TYPE: 2},
    }
    with run_server(tmp_path_factory.mktemp("quotas") / "data", settings) as started:
        yield started


@pytest.fixture(scope="module")
def quotas(server: Server) -> Any:
    """A plain boto3 client."""
    return server.client("service-quotas")


def test_every_instance_type_has_its_two_quotas_under_awss_names(quotas: Any) -> None:
    """On several pages; the sums over all types have AWS's codes."""
    pages = quotas.get_paginator("list_service_quotas").paginate(ServiceCode="sagemaker")
    pages = list(pages)
    found = {quota["QuotaName"]: quota for page in pages for quota in page["Quotas"]}
    assert len(pages) > 1
    assert found[OF_TYPE]["Value"] == 2.0
    assert found["ml.m5.xlarge for transform job usage"]["Value"] == 6.0
    assert (found[ACROSS]["Value"], found[ACROSS]["QuotaCode"]) == (9.0, "L-60D2A6F0")
    assert len({quota["QuotaCode"] for quota in found.values()}) == len(found)
    one = quotas.get_service_quota(ServiceCode="sagemaker", QuotaCode=found[OF_TYPE]["QuotaCode"])["Quota"]
    assert one == found[OF_TYPE]


def test_what_it_says_is_what_is_enforced(server: Server, quotas: Any, name: str) -> None:
    """A job of one instance more is refused with the same name and number."""
    request = processing_request(name)
    request["ProcessingResources"]["ClusterConfig"]["InstanceCount"] = 3
    with expect_client_error("ResourceLimitExceeded") as message:
        server.client("sagemaker").create_processing_job(**request)
    assert f"'{OF_TYPE}' is 2 Instances" in message[0]


def test_what_is_not_there_is_refused_by_name(quotas: Any) -> None:
    """An unknown code, a token of elsewhere, an operation that is not here; other services are moto's."""
    with expect_client_error("NoSuchResourceException"):
        quotas.get_service_quota(ServiceCode="sagemaker", QuotaCode="L-00000000")
    with expect_client_error("InvalidPaginationTokenException"):
        quotas.list_service_quotas(ServiceCode="sagemaker", NextToken="x")
    with expect_client_error("NotImplementedHere") as message:
        quotas.list_aws_default_service_quotas(ServiceCode="sagemaker")
    assert "it has ListServiceQuotas, GetServiceQuota" in message[0]
    assert quotas.list_aws_default_service_quotas(ServiceCode="vpc")["Quotas"]
