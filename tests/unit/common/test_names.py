"""Names are the same where a job must be found again, differ where it must not, and always fit AWS."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from batch_inference.common.names import (
    MAX_BASE_NAME_LENGTH,
    RunPaths,
    build_job_base_name,
    build_job_name_wildcard,
    build_name_token,
    generate_nonce,
    parse_job_name,
    slugify_run_id,
)

texts = st.text(max_size=120)
# AWS's pattern of the names of jobs and models.
NAME_PATTERN = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")


@given(
    pipeline=texts,
    step=texts,
    nonce=texts,
    task_id=texts,
    map_index=st.integers(-1, 10_000),
    max_tries=st.integers(0, 99),
)
def test_a_name_fits_aws_whatever_pipeline_step_and_task_are_called(
    pipeline: str, step: str, nonce: str, task_id: str, map_index: int, max_tries: int
) -> None:
    name = build_job_base_name(
        pipeline=pipeline, step=step, nonce=nonce, task_id=task_id, map_index=map_index, max_tries=max_tries
    )
    assert len(name) <= MAX_BASE_NAME_LENGTH
    for attempt in (1, 99):
        full = f"{name}-{attempt}"
        assert NAME_PATTERN.fullmatch(full)
        assert len(full) <= 63
    assert build_name_token(nonce) in name


def test_a_name_says_pipeline_and_step_to_people() -> None:
    name = build_job_base_name(pipeline="abalone", step="transform", nonce="n", task_id="transform")
    assert re.fullmatch(r"abalone--transform-[0-9a-f]{12}-[0-9a-f]{8}", name)


def test_an_automatic_retry_finds_the_same_name_and_a_clear_makes_another() -> None:
    def name(**changes: object) -> str:
        known: dict[str, object] = {
            "pipeline": "p",
            "step": "s",
            "nonce": "n",
            "task_id": "t",
            "map_index": -1,
            "max_tries": 2,
        }
        return build_job_base_name(**{**known, **changes})  # type: ignore[arg-type] # every value has its parameter's type

    assert name() == name()
    others = [
        name(max_tries=5), name(map_index=0), name(map_index=1), name(task_id="u"), name(nonce="m"),
        name(step="r"), name(pipeline="q"),
    ]  # fmt: skip
    assert len({name(), *others}) == 8


@given(pipeline=texts, nonce=texts, task_id=texts)
def test_the_pattern_of_a_steps_jobs_matches_those_of_every_run(
    pipeline: str, nonce: str, task_id: str
) -> None:
    pattern = build_job_name_wildcard(pipeline, "transform")
    name = build_job_base_name(pipeline=pipeline, step="transform", nonce=nonce, task_id=task_id)
    assert re.fullmatch(pattern.replace("?", "[0-9a-f]"), name)
    assert pattern.count("?") == 20


def test_two_runs_share_no_token() -> None:
    nonces = {generate_nonce() for _ in range(200)}
    assert len(nonces) == 200
    assert len({build_name_token(nonce) for nonce in nonces}) == 200


@given(run_id=texts)
def test_a_run_id_becomes_one_safe_path_segment(run_id: str) -> None:
    slug = slugify_run_id(run_id)
    assert re.fullmatch(r"[A-Za-z0-9._=-]{1,80}", slug)
    assert slug.strip(".")
    assert slugify_run_id(run_id) == slug


@given(st.lists(texts, min_size=2, max_size=2, unique=True))
def test_distinct_run_ids_get_distinct_segments(run_ids: list[str]) -> None:
    assert slugify_run_id(run_ids[0]) != slugify_run_id(run_ids[1])


def test_a_run_id_that_is_safe_stays_as_people_know_it() -> None:
    assert slugify_run_id("scheduled__2026-01-31") == "scheduled__2026-01-31"
    assert slugify_run_id("manual__2026-01-31T07:00:00+00:00").startswith(
        "manual__2026-01-31T07-00-00-00-00-"
    )


def test_addresses_of_a_run_lie_below_its_prefix() -> None:
    paths = RunPaths.from_run_id(work="s3://b/work/", pipeline="p", run_id="r1")
    job = paths.build_job_paths("p-preprocess-1")
    assert [
        paths.root, paths.plan, paths.code, paths.config, paths.preprocess_config,
        paths.build_joined_prefix("j-1"), paths.report_json, paths.report_html,
        job.records, job.features, job.rejects, job.manifests, job.predictions,
    ] == [
        f"s3://b/work/p/r1/{rest}"
        for rest in (
            "", "plan.json", "code/", "config/", "config/preprocess.json", "joined/j-1/", "report.json", "report.html",
            "p-preprocess-1/records/", "p-preprocess-1/features/", "p-preprocess-1/rejects/",
            "p-preprocess-1/manifest/", "p-preprocess-1/predictions/",
        )
    ]  # fmt: skip


def test_addresses_can_be_built_over_a_template() -> None:
    assert (
        RunPaths("{{ prefix }}").build_job_paths("{job_name}").features == "{{ prefix }}{job_name}/features/"
    )


@given(pipeline=texts, nonce=texts, task_id=texts)
def test_a_job_name_gives_its_step_and_token_back(pipeline: str, nonce: str, task_id: str) -> None:
    """With and without the number of the attempt."""
    name = build_job_base_name(pipeline=pipeline, step="transform", nonce=nonce, task_id=task_id)
    for full in (name, f"{name}-1", f"{name}-99"):
        assert parse_job_name(full) == ("transform", build_name_token(nonce))


def test_a_name_that_was_not_built_here_has_no_parts() -> None:
    assert parse_job_name("transform-1") is None
