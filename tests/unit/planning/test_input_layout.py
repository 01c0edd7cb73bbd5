"""Without preprocessing, a plan hands the input over in the way that is expected to cost least, and says so."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch_inference.common.errors import ParamsError, PlanError, RequestLintError
from batch_inference.config.run_params import RunParams
from batch_inference.planning.inputs.input_probe import ProbeResult
from batch_inference.planning.inputs.input_split import balance_weights, split_objects
from batch_inference.planning.plan import Plan
from batch_inference.planning.planner import make_plan
from tests.unit.builders import (
    MOMENT,
    context,
    objects,
    pipeline,
    pipeline_without_preprocess,
    plan,
    run_info,
    run_preflight,
    select_input,
)
from tests.unit.planning.test_rate_model import of_layouts

MB, GB = 1_000_000, 1_000_000_000
CHEAP = pipeline_without_preprocess({"transform.max_instances": 16, "goals.prefer": "cost"})


def said(made: Plan, *parts: str) -> bool:
    """Whether one sentence of the plan holds all parts."""
    return any(all(part in text for part in parts) for text in made.sentences)


@pytest.mark.parametrize("hours", [3, 4])
def test_one_large_object_is_cut_to_pieces_for_as_many_instances_as_the_deadline_needs(hours: int) -> None:
    made = plan([30 * GB], of=CHEAP, deadline=str(60 * hours))
    assert made.preprocess is None
    assert made.layout is not None
    assert (made.layout.mode, made.layout.jobs) == ("pieces", 1)
    assert 2 <= made.transform.instance_count <= 4
    assert made.layout.piece_bytes <= 64 * 2**20
    assert made.layout.objects >= made.transform.instance_count * 10
    assert said(
        made, "Objects are split at line ends, inside S3", "because SageMaker gives an object to one instance"
    )
    assert said(made, "One job takes all objects", "jobs of one instance")
    assert made.estimate.preprocess.seconds == 0


def test_where_speed_is_preferred_lists_of_pieces_are_the_surest_even_load() -> None:
    made = plan([30 * GB], of=pipeline_without_preprocess({"transform.max_instances": 16}))
    assert made.layout is not None
    assert (made.layout.mode, made.layout.jobs, made.transform.instance_count) == ("pieces", 16, 16)
    assert said(made, "16 jobs of one instance")


def test_tiny_objects_are_put_together() -> None:
    made = plan([2_000] * 50_000, of=CHEAP)
    assert made.layout is not None
    assert (made.layout.mode, made.layout.merge_below_bytes, made.transform.instance_count) == (
        "pieces",
        2_001,
        1,
    )
    assert said(made, "50,000 objects below 2.0 kB are merged, because each would be a request of its own")


def test_of_more_tiny_objects_than_a_task_reads_as_many_as_may_be_are_merged() -> None:
    """The smallest first; the others are copied, which S3 does."""
    made = plan([*[4_000] * 30_000, *[2_000] * 500_000], of=CHEAP)
    assert made.layout is not None
    assert (made.layout.mode, made.layout.merged_objects, made.layout.merge_below_bytes) == (
        "pieces",
        500_000,
        2_001,
    )
    alike = plan([3_000] * 510_000, of=CHEAP).layout
    assert alike is not None
    assert (alike.mode, alike.merged_objects, alike.merge_below_bytes) == ("pieces", 500_000, 3_001)


def test_what_can_neither_be_read_nor_copied_by_a_task_lies_where_it_is() -> None:
    made = plan([2_000] * 600_000, of=CHEAP)
    assert made.layout is not None
    assert (made.layout.mode, made.layout.objects) == ("unsplit", 600_000)


def test_uneven_objects_that_cannot_be_cut_go_to_jobs_of_one_instance_with_lists() -> None:
    packed = pipeline_without_preprocess({"transform.max_instances": 4, "input.compression": "gzip"})
    made = plan([400 * MB] + [40 * MB] * 30, of=packed)
    assert made.layout is not None
    assert (made.layout.mode, made.layout.jobs, made.transform.instance_count) == ("unsplit", 4, 4)
    assert said(
        made,
        "4 jobs of one instance",
        "each stops being billed when its own list is done",
        "where one job of 4",
    )
    # The fullest list holds 400 MB of a mean of 400; the estimate bills each job for its own.
    assert made.estimate.transform.billed_seconds < 4 * made.estimate.transform.seconds + 1


def test_one_job_takes_them_where_the_pipeline_allows_no_more() -> None:
    packed = pipeline_without_preprocess(
        {"transform.max_instances": 4, "input.compression": "gzip", "transform.max_jobs": 1}
    )
    made = plan([400 * MB] + [40 * MB] * 30, of=packed)
    assert made.layout is not None
    assert (made.layout.jobs, made.transform.instance_count) == (1, 4)
    assert said(made, "transform.max_jobs is 1")


def test_gzip_is_not_cut_and_the_plan_says_so() -> None:
    made = plan(
        [10 * GB], of=pipeline_without_preprocess({"transform.max_instances": 8, "input.compression": "gzip"})
    )
    assert made.layout is not None
    assert (made.layout.mode, made.transform.instance_count) == ("unsplit", 1)
    assert said(made, "cannot be divided")


def test_cost_without_a_deadline_takes_one_instance_and_still_cuts_what_is_huge() -> None:
    made = plan([50 * GB], of=CHEAP)
    assert made.layout is not None
    assert (made.layout.mode, made.transform.instance_count) == ("pieces", 1)
    small = plan([50 * MB] * 4, of=CHEAP)
    assert small.layout is not None
    assert (small.layout.mode, small.layout.jobs) == ("unsplit", 1)


def test_a_typed_count_wins_over_what_lists_could_use() -> None:
    made = plan(
        [4 * MB] * 60,
        of=pipeline_without_preprocess({"transform.max_instances": 40}),
        transform_instance_count=30,
    )
    assert made.transform.instance_count == 30
    assert made.layout is not None
    assert made.layout.jobs == 1


def test_a_deadline_that_no_way_meets_is_refused_with_what_it_would_need() -> None:
    with pytest.raises(PlanError, match=r"needs \d+ × ml.m5.xlarge to transform to be done by"):
        plan([30 * GB], of=pipeline_without_preprocess({"transform.max_instances": 2}), deadline="60")


sizes = st.lists(
    st.one_of(st.integers(0, 10_000), st.integers(0, 10 * MB), st.integers(0, 20 * GB)), max_size=40
)


@settings(max_examples=150)
@given(
    listing=sizes,
    limit=st.integers(1, 100),
    jobs=st.integers(1, 100),
    typed=st.one_of(st.none(), st.integers(1, 100)),
    compression=st.sampled_from(["none", "gzip"]),
    prefer=st.sampled_from(["cost", "speed"]),
    minutes=st.one_of(st.none(), st.integers(10, 3_000)),
)
def test_a_plan_covers_every_object_and_byte_once_and_exceeds_no_limit(
    listing: list[int], limit: int, jobs: int, typed: int | None, compression: str, prefer: str, minutes: int | None
) -> None:  # fmt: skip
    of = pipeline_without_preprocess(
        {
            "transform.max_instances": limit,
            "transform.max_jobs": jobs,
            "input.compression": compression,
            "goals.prefer": prefer,
        }
    )
    try:
        made = plan(listing, of=of, transform_instance_count=typed, deadline=minutes and str(minutes))
    except ParamsError:
        assert (typed or 0) > limit
        return
    except PlanError:
        assert minutes is not None  # only a deadline can be too early
        return
    if made.empty:
        assert not any(listing)
        return
    assert made.layout is not None
    given = objects(listing)
    pieces = (
        list(
            split_objects(
                given,
                piece_bytes=made.layout.piece_bytes,
                merge_below_bytes=made.layout.merge_below_bytes,
                is_splittable=compression == "none",
            )
        )
        if made.layout.mode == "pieces"
        else list(split_objects(given, piece_bytes=1, merge_below_bytes=0, is_splittable=False))
    )
    covered: dict[str, int] = {}
    for piece in pieces:
        for span in piece:
            assert span.start == covered.get(span.key, 0)
            covered[span.key] = span.end
    assert covered == {item.key: item.size for item in given if item.size}
    assert 1 <= made.transform.instance_count <= min(limit, typed or limit)
    assert made.transform.instance_count <= len(pieces) or made.layout.mode == "pieces"
    assert made.layout.jobs <= jobs
    assert made.layout.jobs in (1, made.transform.instance_count)
    assert made.transform.max_concurrent_transforms * made.transform.max_payload_mb <= 100
    lists = balance_weights([float(sum(span.bytes for span in piece)) for piece in pieces], made.layout.jobs)
    assert sorted(at for one in lists for at in one) == list(range(len(pieces)))
    run_preflight(of, made, ProbeResult(largest_record_bytes=100))


def listed(uri: str, *keys: str) -> Plan:
    of = pipeline_without_preprocess()
    return make_plan(of, RunParams(), select_input(uri, *keys), run_info(input_uri=uri), context(of))


def test_a_prefix_that_matches_a_folder_and_its_neighbour_is_refused_without_preprocessing_too() -> None:
    with pytest.raises(RequestLintError, match="write s3://data/in/test/ for the folder alone"):
        listed("s3://data/in/test", "in/test/a.csv", "in/test_small/a.csv")
    assert listed("s3://data/in/test/", "in/test/a.csv").input.objects == 1


@pytest.mark.parametrize(
    ("looked_at", "message"),
    [
        (ProbeResult(has_header=True), "TransformInput: the objects begin with a line of column names"),
        (
            ProbeResult(largest_record_bytes=7_000_000),
            "MaxPayloadInMB: found 6, but a record of the input is 7.0 MB; .* write MaxPayloadInMB 7",
        ),
    ],
)
def test_what_was_seen_of_the_records_is_checked_before_anything_is_spent(
    looked_at: ProbeResult, message: str
) -> None:
    made = plan([10 * MB], of=pipeline_without_preprocess())
    run_preflight(pipeline_without_preprocess(), made, ProbeResult(largest_record_bytes=100))
    with pytest.raises(RequestLintError, match=message):
        run_preflight(pipeline_without_preprocess(), made, looked_at)


@pytest.mark.parametrize(
    "of", [pipeline(), pipeline_without_preprocess()], ids=["with preprocessing", "without"]
)
def test_what_a_run_writes_below_its_input_is_refused_for_typed_addresses_too(of: object) -> None:
    made = plan([10 * MB], of=of)  # type: ignore[arg-type]
    bent = made.model_copy(update={"output_uri": "s3://data/in/scored/"})
    with pytest.raises(
        RequestLintError, match="output: found 's3://data/in/scored/' below the input 's3://data/in/'"
    ):
        run_preflight(of, bent)  # type: ignore[arg-type]


def test_lists_are_balanced_by_seconds_where_requests_cost_more_than_bytes() -> None:
    """Three large objects and 9,000 crumbs at 2 s a request: by bytes alone one list would have all crumbs."""
    of = pipeline_without_preprocess({"transform.max_instances": 4, "input.compression": "gzip"})
    layouts = [(300 * MB, 20_000), (300 * MB, 5000), (300 * MB, 1000), (600 * MB, 20_000)]
    history = of_layouts(*layouts, per_byte=1e-6, per_request=2.0)
    sizes = [10 * MB] * 3 + [1000] * 9000
    made = make_plan(of, RunParams(), objects(sizes), run_info(), context(of, history=history))
    assert made.layout is not None
    assert (made.layout.mode, made.layout.jobs) == ("unsplit", 4)
    # 18,000 s of requests and 156 s of bytes.
    assert made.estimate.transform.seconds == pytest.approx(18_200 / 4 + 90, rel=0.05)
    weights = [size + made.layout.request_bytes for size in sizes]
    lists = [[sizes[at] for at in positions] for positions in balance_weights(weights, 4)]
    seconds = [sum(size * 1e-6 * 4 + 2.0 for size in each) for each in lists]
    assert max(seconds) == pytest.approx(made.estimate.transform.seconds - 90, rel=0.05)


@pytest.mark.parametrize("runs", [2, 3])
def test_an_estimate_of_years_is_no_date(runs: int) -> None:
    """Nights of a few large objects say little of a night of crumbs, and 999 of 1,000 is far in the tail."""
    goals = {"prefer": "cost", "confidence": 0.999, "on_over_budget": "approve", "budget": 0.01}
    of = pipeline_without_preprocess({"goals": goals, "input.compression": "gzip"})
    history = of_layouts(*[(1000 * MB, 5)] * runs, per_byte=1e-6, per_request=0.2)
    made = make_plan(
        of, RunParams(deadline="600"), objects([2500] * 100_000), run_info(),
        context(of, history=history, can_request_approval=True),
    )  # fmt: skip
    assert said(made, "in 999 of 1,000 nights by a time more than 30 days away")
    assert made.approve_by == MOMENT + timedelta(minutes=1)
