"""The most memory of a job's instances, read from the metric whose host is an instance without its log's suffix."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from batch_inference.aws.instance_memory import read_peak_memory_share

JOB = {
    "kind": "Transform",
    "job_name": "churn-transform-1",
    "started_at": 1_800_000_000.5,
    "ended_at": 1_800_000_600.5,
    "instances": [{"instance": "i-0ab1-1800000000123"}, {"instance": "i-0cd2-4f5e6a"}],
}


def test_the_metric_is_found_by_the_instance_that_its_log_stream_begins_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Streams are `<job>/<instance>-<suffix>`, the metric's Host is `<job>/<instance>`."""
    percent = {"churn-transform-1/i-0ab1": [41.0, 61.5], "churn-transform-1/i-0cd2": [12.0]}

    class Client:
        """Gives each value on a page of its own."""

        def get_paginator(self, operation: str) -> Client:
            assert operation == "get_metric_data"
            return self

        def paginate(self, MetricDataQueries: list[dict[str, Any]], **_: Any) -> Iterator[dict[str, Any]]:  # noqa: N803
            hosts = [query["MetricStat"]["Metric"]["Dimensions"][0]["Value"] for query in MetricDataQueries]
            for host in hosts:
                for value in percent.get(host, []):
                    yield {"MetricDataResults": [{"Values": [value]}]}

    monkeypatch.setattr("batch_inference.aws.instance_memory.get_client", lambda _: Client())
    assert read_peak_memory_share("aws_default", "eu-west-1", JOB) == 0.615
