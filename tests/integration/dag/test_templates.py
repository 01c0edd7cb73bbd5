"""Names that templates render: equal over retries, new after a clear, and then those of before are known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from batch_inference.dag.templates import build_macros, compute_deployment_id
from tests.integration.plan_builder import build_plan


def names(*, retries: int, max_tries: int, map_index: int | None = None) -> tuple[str, list[str]]:
    """The job's name, and those of before each clear, of a task that has so many tries."""

    def xcom_pull(_: str) -> Any:
        return build_plan("s3://bucket/work/churn/r1/", nonce="0123456789abcdef")

    ti = SimpleNamespace(
        task_id="transform", map_index=map_index, max_tries=max_tries, xcom_pull=xcom_pull,
        task=SimpleNamespace(retries=retries),
    )  # fmt: skip
    made = build_macros("abalone")
    return made["job_name"](ti, "transform"), made["earlier_job_names"](ti, "transform").split()


def test_a_task_that_was_never_cleared_replaces_nothing() -> None:
    """However often it is retried: Airflow does not change `max_tries` for that."""
    assert names(retries=2, max_tries=2)[1] == []


def test_after_clears_every_name_of_before_is_known_and_the_new_one_is_not_among_them() -> None:
    """A first clear after two tries made 2 into 4, another one made 7 of it."""
    first, second, third = (names(retries=2, max_tries=tries) for tries in (2, 4, 7))
    assert len({first[0], second[0], third[0]}) == 3
    assert first[0] in second[1]
    assert {first[0], second[0]} <= set(third[1])
    assert third[0] not in third[1]


def test_mapped_tasks_do_not_replace_each_other() -> None:
    """Each has names of its own."""
    one, other = (names(retries=0, max_tries=3, map_index=index) for index in (0, 1))
    assert not {one[0], *one[1]} & {other[0], *other[1]}


def test_airflows_in_one_account_are_told_apart_by_address_or_by_who_issues_their_tokens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else the janitor of one would stop the jobs of the other."""

    def tag(base_url: str, issuer: str) -> str:
        monkeypatch.setenv("AIRFLOW__API__BASE_URL", base_url)
        monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_ISSUER", issuer)
        return compute_deployment_id()

    local = "http://localhost:8080"
    tags = [tag(local, ""), tag(local, "one"), tag(local, "two"), tag("http://localhost:8081", "")]
    assert len(set(tags)) == 4
    assert tag(local, "one") == tags[1]
