"""What a plan leads to is checked, or put right, before it is spent."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch_inference.common.errors import PlanError, RequestLintError
from batch_inference.config.run_params import RunParams
from batch_inference.planning.plan import Plan
from batch_inference.planning.planner import make_plan
from tests.unit.builders import (
    TWO_CONTAINERS,
    context,
    example,
    pipeline,
    plan,
    run_info,
    run_preflight,
    select_input,
)

GB = 1_000_000_000


@settings(max_examples=40)
@given(
    sizes=st.lists(st.integers(0, 50 * GB), max_size=20), serial=st.booleans(), duplicates=st.booleans(),
    payload=st.one_of(st.none(), st.integers(1, 5)),
)  # fmt: skip
def test_no_plan_leads_to_a_request_that_sagemaker_would_refuse(
    sizes: list[int], serial: bool, duplicates: bool, payload: int | None
) -> None:
    changes: dict[str, object] = {"rules": [{"rule": "duplicates"}] if duplicates else []}
    of = pipeline({**changes, "model": TWO_CONTAINERS} if serial else changes)
    run_preflight(of, plan(sizes, of=of, transform_max_payload_mb=payload))


def test_the_example_passes() -> None:
    run_preflight(example(), plan([5_000_000, 3_000_000], of=example()))


def test_a_plan_that_was_tampered_with_is_refused() -> None:
    made = plan([GB])
    bent = made.model_copy(
        update={"transform": made.transform.model_copy(update={"max_concurrent_transforms": 50})}
    )
    with pytest.raises(RequestLintError, match="MaxConcurrentTransforms 50 times MaxPayloadInMB 6 is 300 MB"):
        run_preflight(pipeline(), bent)


def test_the_disk_grows_with_what_an_instance_must_hold_and_the_plan_says_so() -> None:
    small, large = plan([GB] * 4), plan([20 * GB] * 4)
    assert small.preprocess.volume_size_gb == 30
    # Four hosts share the objects; the fullest is allowed twice an even share, and writes as much again twice.
    assert (large.preprocess.host_bytes, large.preprocess.volume_size_gb) == (40 * GB, 121)
    assert any(
        "gets 121 GB of disk instead of 30, because it holds up to 40.0 GB" in text
        for text in large.sentences
    )


def test_where_each_host_sees_all_input_each_disk_holds_all_of_it() -> None:
    made = plan(
        [20 * GB] * 4, of=pipeline({"rules": [{"rule": "duplicates"}], "security.network_isolation": True})
    )
    assert (made.preprocess.host_bytes, made.preprocess.volume_size_gb) == (80 * GB, 241)


def test_input_that_no_disk_can_hold_is_an_error() -> None:
    with pytest.raises(
        PlanError,
        match=r"18,001 GB of disk for 6\.0 TB of input, and SageMaker gives at most 16,384",
    ):
        plan([6000 * GB])


def listed(uri: str, *keys: str) -> Plan:
    of = pipeline()
    return make_plan(of, RunParams(), select_input(uri, *keys), run_info(input_uri=uri), context(of))


def test_a_prefix_that_matches_a_folder_and_its_neighbour_by_accident_is_refused() -> None:
    with pytest.raises(RequestLintError) as caught:
        listed("s3://data/in/test", "in/test/a.csv", "in/test_small/a.csv")
    assert str(caught.value) == (
        "input: found s3://data/in/test, which matches 'in/test/a.csv' and also "
        "'in/test_small/a.csv', because an S3 prefix "
        "matches every key that begins with it; write s3://data/in/test/ for the folder alone"
    )


@pytest.mark.parametrize(
    ("uri", "keys"),
    [
        ("s3://data/in/test/", ["in/test/a.csv", "in/test/b.csv"]),
        ("s3://data/in/test", ["in/test/a.csv", "in/test/b.csv"]),
        ("s3://data/in/2026-01-", ["in/2026-01-01.csv", "in/2026-01-02.csv"]),
        ("s3://data/in/a.csv", ["in/a.csv"]),
        ("s3://data", ["a.csv", "in/b.csv"]),
    ],
)
def test_a_prefix_that_means_one_thing_is_taken_as_it_is(uri: str, keys: list[str]) -> None:
    assert listed(uri, *keys).input.objects == len(keys)
