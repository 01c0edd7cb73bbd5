"""A plan gives each stage no more instances than it can use, and says in one sentence why it chose what it chose."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch_inference.common.errors import EmptyInputError, ParamsError
from batch_inference.planning.plan import Plan
from tests.unit.builders import INPUT, TWO_CONTAINERS, pipeline, plan

MB = 1_000_000


def test_the_plan_of_a_plain_run() -> None:
    made = plan([30 * MB, 10 * MB])
    assert (made.input.objects, made.input.bytes, made.input.largest_bytes) == (2, 40 * MB, 30 * MB)
    assert (made.preprocess.instance_count, made.preprocess.instance_type) == (2, "ml.m5.xlarge")
    assert (made.transform.instance_count, made.transform.shards) == (4, 40)
    assert made.preprocess.shard_bytes == 1 * MB
    assert (made.transform.max_concurrent_transforms, made.transform.max_payload_mb) == (4, 6)
    assert (made.transform.batch_strategy, made.transform.max_runtime_seconds) == ("MultiRecord", 14_400)
    assert made.run_prefix == "s3://data/work/churn/scheduled__2026-01-31/"
    assert (made.empty, made.dry_run) == (False, False)


def test_a_typed_count_wins_and_the_plan_says_so() -> None:
    made = plan([40 * MB], transform_instance_count=3)
    assert made.transform.instance_count == 3
    assert [each.chosen_by for each in made.log if each.field == "transform.instance_count"] == [
        "trigger form"
    ]
    assert any("3 × ml.m5.xlarge, because the trigger form said 3" in text for text in made.sentences), (
        made.sentences
    )


def test_a_typed_count_is_lowered_to_the_objects_there_are_and_the_plan_says_so() -> None:
    made = plan([40 * MB], preprocess_instance_count=4)
    assert made.preprocess.instance_count == 1
    assert any(
        "the trigger form said 4, lowered because there is only 1 input object" in text
        for text in made.sentences
    ), made.sentences


def test_a_typed_count_gets_shards_small_enough_to_use_it() -> None:
    assert plan([190_000]).transform.instance_count == 1
    assert plan([190_000], transform_instance_count=4).transform.instance_count == 4


def test_a_count_above_the_pipelines_limit_is_refused() -> None:
    with pytest.raises(ParamsError) as caught:
        plan([MB], transform_instance_count=9)
    assert caught.value.problems == (
        "transform_instance_count: found 9; allowed is at most 4, as transform.max_instances of the pipeline churn",
    )


@pytest.mark.parametrize(
    ("changes", "params", "problem"),
    [
        (
            {"model": TWO_CONTAINERS}, {"transform_max_payload_mb": 6},
            ("transform_max_payload_mb: found 6; allowed is at most 5, because the model has 2 containers and requests "
            "between them are limited to 5 MB"),
        ),
        (
            {}, {"transform_max_payload_mb": 30, "transform_max_concurrent_transforms": 4},
            ("transform_max_concurrent_transforms: found 4 times 30 MB per request = 120 MB in flight; "
             "SageMaker allows at most 100; "
            "write 3 or less, or lower the MB per request"),
        ),
    ],
)  # fmt: skip
def test_typed_request_sizes_that_sagemaker_would_refuse_are_refused_first(
    changes: dict[str, Any], params: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ParamsError) as caught:
        plan([MB], of=pipeline(changes), **params)
    assert caught.value.problems == (problem,)


def test_a_pipelines_concurrency_gives_way_to_a_typed_payload() -> None:
    made = plan([MB], of=pipeline({"transform.max_concurrent_transforms": 10}), transform_max_payload_mb=50)
    assert made.transform.max_concurrent_transforms == 2
    assert any(
        "lowered from 10 because 10 × 50 MB is above SageMaker's 100 MB" in text for text in made.sentences
    )


@pytest.mark.parametrize(
    ("stated", "expected", "sentences"),
    [
        (
            {},
            (600, 3, 14_400),
            [
                "SageMaker waits 600 s for the answer to a request, because that is SageMaker's default.",
                (
                    "A request without an answer, or with a server error, is sent up to 3 more times, because that is "
                    "SageMaker's default."
                ),
            ],
        ),
        (
            {"timeout_seconds": 3600, "retries": 0, "environment": {"BEAMS": "4", "DEVICE": "cpu"}},
            (3600, 0, 14_400),
            [
                "SageMaker waits 3600 s for the answer to a request, because the pipeline says so.",
                "A request without an answer, or with a server error, is not sent again, because the pipeline says so.",
                "The model's containers get BEAMS, DEVICE from transform.environment, over variables of their own.",
            ],
        ),
        (
            {"max_runtime_minutes": 30},
            (600, 3, 2400),
            [
                (
                    "Transform is stopped after 40 min 00 s, not after the 30 min 00 s of "
                    "transform.max_runtime_minutes, because one request can take that long: 4 × 600 s by SageMaker's "
                    "defaults. To keep the limit, write transform.timeout_seconds or transform.retries."
                ),
            ],
        ),
        ({"max_runtime_minutes": 30, "timeout_seconds": 450}, (450, 3, 1800), []),
    ],
)
def test_the_tries_of_a_request_are_limited_as_the_file_or_sagemaker_says(
    stated: dict[str, Any], expected: tuple[int, int, int], sentences: list[str]
) -> None:
    """Each value is explained, and the job's own limit is never below what one request may take."""
    made = plan([MB], of=pipeline({f"transform.{key}": value for key, value in stated.items()}))
    transform = made.transform
    assert (transform.timeout_seconds, transform.retries, transform.max_runtime_seconds) == expected
    assert [text for text in sentences if text not in made.sentences] == [], made.sentences
    raised = [each for each in made.log if each.field == "transform.max_runtime_seconds"]
    assert len(raised) == (expected[2] == 2400)


def test_an_empty_input_is_a_plan_without_work_or_an_error_that_names_it() -> None:
    for sizes in ([], [0, 0]):
        made = plan(sizes)
        assert (made.empty, made.preprocess.instance_count, made.transform.instance_count) == (True, 0, 0)
        assert made.sentences == (
            f"Nothing to score: {INPUT} holds no object with content, and on_empty is 'skip'.",
        )
    with pytest.raises(
        EmptyInputError, match=f"{INPUT} holds no object with content, and on_empty is 'fail'"
    ):
        plan([], of=pipeline({"on_empty": "fail"}))


def test_gzip_is_counted_as_larger_than_it_lies_there() -> None:
    packed = plan([10 * MB], of=pipeline({"input.compression": "gzip"}))
    assert (packed.input.bytes, packed.input.text_bytes) == (10 * MB, 40 * MB)
    assert packed.transform.shards == plan([40 * MB]).transform.shards


def test_the_digest_of_the_input_changes_with_any_object() -> None:
    first = plan([1, 2]).input.digest
    assert plan([1, 2]).input.digest == first
    assert len({first, plan([2, 1]).input.digest, plan([1, 2, 3]).input.digest}) == 3


def test_what_tasks_hand_on_is_json_and_does_not_grow_with_the_listing() -> None:
    few, many = plan([1000] * 2), plan([1000] * 5000)
    assert abs(len(json.dumps(few.to_xcom())) - len(json.dumps(many.to_xcom()))) < 100
    assert Plan.model_validate(json.loads(json.dumps(many.to_xcom()))) == many


def test_a_dry_run_is_planned_like_any_other() -> None:
    made = plan([MB], dry_run=True)
    assert made.dry_run
    assert made.transform == plan([MB]).transform


sizes = st.lists(st.one_of(st.integers(0, 10_000), st.integers(0, 2 * 10**10)), max_size=60)
limits = st.integers(1, 100)


@settings(max_examples=150)
@given(
    listing=sizes, preprocess_limit=limits, transform_limit=limits, typed=st.one_of(st.none(), limits),
    serial=st.booleans(), kind=st.sampled_from(["ml.t3.medium", "ml.m5.xlarge", "ml.g5.48xlarge"]),
    payload=st.one_of(st.none(), st.integers(1, 100)), compression=st.sampled_from(["none", "gzip", "auto"]),
)  # fmt: skip
def test_no_plan_has_an_instance_without_work_or_exceeds_a_limit(
    listing: list[int], preprocess_limit: int, transform_limit: int, typed: int | None, serial: bool, kind: str,
    payload: int | None, compression: str,
) -> None:  # fmt: skip
    of = pipeline(
        {
            "preprocess.max_instances": preprocess_limit,
            "transform.max_instances": transform_limit,
            "transform.instance_type": kind,
            "input.compression": compression,
            **({"model": TWO_CONTAINERS} if serial else {}),
        }
    )
    try:
        made = plan(listing, of=of, transform_instance_count=typed, transform_max_payload_mb=payload)
    except ParamsError:
        assert (typed or 0) > transform_limit or (serial and (payload or 0) > 5)
        return
    used = [size for size in listing if size]
    assert made.empty == (not used)
    assert made.preprocess.instance_count <= min(preprocess_limit, len(used))
    assert made.transform.instance_count <= min(transform_limit, made.transform.shards, typed or 100)
    assert made.transform.max_concurrent_transforms * made.transform.max_payload_mb <= 100
    if serial:
        assert made.transform.max_payload_mb <= 5
    if used:
        assert made.preprocess.instance_count >= 1
        assert made.transform.instance_count >= 1
        # The shards hold all of the text, and no more than the rounding of the last one.
        text = made.input.text_bytes
        assert text <= made.preprocess.shards * made.preprocess.shard_bytes < text + made.preprocess.shards
