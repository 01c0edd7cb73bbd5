"""The account's quotas, asked of the embedded AWS, and what happens where nobody answers."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from batch_inference.aws import account_quotas
from batch_inference.aws.account_quotas import fetch_account_quotas, read_quotas
from batch_inference.cli.laptop.environment import build_aws_connection
from batch_inference.config.run_params import RunParams
from tests.integration.local_aws.servers import Server, run_server
from tests.unit.builders import pipeline

PROCESSING, TRANSFORM = (f"ml.m5.xlarge for {kind} job usage" for kind in ("processing", "transform"))
ACROSS = [f"Number of instances across all {kind} jobs" for kind in ("processing", "transform")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An account that may transform on seven instances."""
    settings = {"instance_quotas": {TRANSFORM: 7}}
    with (
        run_server(tmp_path_factory.mktemp("quotas") / "aws", settings) as started,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("AIRFLOW_CONN_AWS_DEFAULT", build_aws_connection(started.url))
        yield started


def test_the_account_is_asked_and_wins_over_what_the_pipeline_states(server: Server) -> None:
    """For the types of this run alone."""
    stated = pipeline({"quotas": {TRANSFORM: 99, "ml.p3.2xlarge for transform job usage": 1}})
    found = read_quotas(stated, RunParams())
    assert found == {PROCESSING: 20, TRANSFORM: 7, ACROSS[0]: 20, ACROSS[1]: 20}
    typed = read_quotas(stated, RunParams(transform_instance_type="ml.c5.xlarge"))
    assert "ml.c5.xlarge for transform job usage" in typed
    assert TRANSFORM not in typed


def test_without_permission_the_pipelines_own_quotas_hold_and_the_log_says_what_to_allow(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A plan without quotas is no failure: AWS refuses a job above them before it costs anything."""

    def denied(*_: Any) -> dict[str, int]:
        answer = {"Error": {"Code": "AccessDeniedException", "Message": "not authorized"}}
        raise ClientError(answer, "ListServiceQuotas")

    monkeypatch.setattr(account_quotas, "fetch_account_quotas", denied)
    with caplog.at_level(logging.WARNING):
        assert read_quotas(pipeline({"quotas": {TRANSFORM: 4}}), RunParams()) == {TRANSFORM: 4}
        assert read_quotas(pipeline(), RunParams()) == {}
    assert "allow servicequotas:ListServiceQuotas to Airflow's role" in caplog.text
    assert "AccessDeniedException" in caplog.text


def test_an_aws_without_the_service_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nobody listens on that port."""
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", build_aws_connection("http://127.0.0.1:9"))
    assert read_quotas(pipeline({"quotas": {TRANSFORM: 4}}), RunParams()) == {TRANSFORM: 4}


def test_pages_are_read_until_every_wanted_quota_is_found() -> None:
    """SageMaker has thousands, and a call for each page is throttled."""
    read: list[int] = []

    class Pages:
        def get_paginator(self, _: str) -> Pages:
            return self

        def paginate(self, **_: str) -> Iterator[dict[str, Any]]:
            for number, name in enumerate(["a", TRANSFORM, "b"]):
                read.append(number)
                yield {"Quotas": [{"QuotaName": name, "Value": 3.0}]}

    assert fetch_account_quotas(Pages(), {TRANSFORM}) == {TRANSFORM: 3}
    assert read == [0, 1]
