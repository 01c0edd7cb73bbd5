"""Where `join` finds the answers to a shard when a transform took more than one job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from batch_inference.aws.s3 import Storage
from batch_inference.common.errors import ReconciliationError
from batch_inference.common.names import JobPaths
from batch_inference.dag.tasks import checks, join_group, plan
from batch_inference.run import handoffs, job_outputs, task_ids
from batch_inference.run.job_outputs import JobOutputs, check_unchanged
from batch_inference.run.join_inputs import check_features_origin
from sagemaker_jobs.job.output_files import write_output_listing
from tests.integration.staged_runs import Pipelines, deployed, document

__all__ = ["deployed"]

FIRST, SECOND = "s3://bucket/job-1/predictions/", "s3://bucket/job-2/predictions/"


@pytest.fixture
def two_jobs(storage: Storage) -> Storage:
    """The first job answered one object and stale leftovers of it lie below the second as well."""
    storage.delete(storage.list_uris("s3://bucket/job-"))
    storage.write(f"{FIRST}a.csv.out", "1,99.5\n")
    storage.write(f"{SECOND}a.csv.out", "stale")
    storage.write(f"{SECOND}b.csv.out", "2")
    return storage


def outputs_of(storage: Storage, *prefixes: str) -> JobOutputs:
    """What the jobs that wrote below these prefixes had written when the last ended, which is now."""
    listing = write_output_listing(storage.client, prefixes)
    return JobOutputs.read(storage, {"job_name": "job-2", "output_uris": prefixes, "listing": listing})


def test_answers_are_read_below_the_first_prefix_that_has_them(two_jobs: Storage) -> None:
    """One complete set from both jobs; what neither wrote is named, with what to do."""
    answers = outputs_of(two_jobs, FIRST, SECOND)
    assert answers.find_output("a.csv.out").uri == f"{FIRST}a.csv.out"
    assert answers.find_output("b.csv.out").uri == f"{SECOND}b.csv.out"
    assert not answers.has_output("c.csv.out")
    with pytest.raises(ReconciliationError, match=r"job-2 did not write s3://.*/c\.csv\.out; .*clear"):
        answers.find_output("c.csv.out")


@pytest.mark.parametrize("one_call_bytes", [0, 8 << 20])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"1,99.", " is not what job-2 wrote, which was 7 bytes with ETag"),
        # Of the same size.
        (b"1,99.6\n", " is not what job-2 wrote, which was 7 bytes with ETag"),
        (None, ", which job-2 wrote, no longer exists"),
    ],
)
def test_an_answer_that_is_not_what_the_job_wrote_is_named(
    two_jobs: Storage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    one_call_bytes: int,
    content: Any,
    said: str,
) -> None:
    """A CSV cut by two bytes would read 99.0 for 99.5. Large objects come in parts, small ones by one call."""
    monkeypatch.setattr(job_outputs, "ONE_CALL_BYTES", one_call_bytes)
    answer = outputs_of(two_jobs, FIRST).find_output("a.csv.out")
    assert job_outputs.download_unchanged(two_jobs, answer, tmp_path / "a").read_bytes() == b"1,99.5\n"
    check_unchanged(two_jobs, [answer])
    if content is None:
        two_jobs.delete([answer.uri])
    else:
        two_jobs.write(answer.uri, content)
    with pytest.raises(ReconciliationError, match=f"^{answer.uri}{said}"):
        job_outputs.download_unchanged(two_jobs, answer, tmp_path / "b")
    with pytest.raises(ReconciliationError, match=f"^{answer.uri}{said}"):
        check_unchanged(two_jobs, [answer])


def test_a_second_try_of_the_wait_keeps_the_first_listing(two_jobs: Storage) -> None:
    """What was changed since is not taken for the job's."""
    first = write_output_listing(two_jobs.client, [FIRST])
    two_jobs.write(f"{FIRST}a.csv.out", "1,99.")
    assert write_output_listing(two_jobs.client, [FIRST]) == first
    assert first["uri"] == "s3://bucket/job-1/predictions-listing.jsonl"
    assert first["object_count"] == 1


@pytest.mark.parametrize("is_deleted", [True, False])
def test_a_listing_that_is_not_the_one_that_was_kept_is_named(two_jobs: Storage, is_deleted: bool) -> None:
    """XCom has its digest."""
    listing = write_output_listing(two_jobs.client, [FIRST])
    if is_deleted:
        two_jobs.delete([listing["uri"]])
    else:
        two_jobs.write(listing["uri"], "")
    with pytest.raises(
        ReconciliationError, match=r"listing\.jsonl, the list of what job-1 wrote, (no longer|was)"
    ):
        JobOutputs.read(two_jobs, {"job_name": "job-1", "output_uris": [FIRST], "listing": listing})


@pytest.mark.parametrize("change", ["cut", "deleted"])
@pytest.mark.parametrize("what", ["predictions", "records", "features", "manifests"])
def test_a_run_whose_files_were_changed_after_their_job_publishes_nothing(
    deployed: Pipelines, what: str, change: str
) -> None:
    """Whether the join reads them, the transform's containers did, or the counts come from them."""
    deployed.write(document())
    deployed.upload(1, ["a,F,30", "b,M,40"])
    run = deployed.run("r1", 1, lambda _: 0.5)
    run.task(task_ids.PLAN, plan.plan_run)
    run.prepare()
    run.collect_shards()
    run.transform()
    job = run.paths.build_job_paths(run.job("transform" if what == "predictions" else "preprocess"))
    (uri,) = deployed.storage.list_uris(getattr(job, what))
    if change == "deleted":
        deployed.storage.delete([uri])
    else:
        deployed.storage.write(uri, deployed.storage.read(uri)[:-2])

    def rest() -> None:
        groups = run.xcoms[task_ids.AWAIT_PREPROCESS, "return_value"]
        joined = [run.task(task_ids.JOIN, join_group.join_group, group=group) for group in groups]
        run.task(task_ids.CHECKS, checks.run_checks, joined=joined)

    said = r", which \S+ wrote, no longer exists" if change == "deleted" else " is not what"
    with pytest.raises(ReconciliationError, match=f"^{uri}{said}"):
        rest()


def test_shards_of_an_earlier_preprocess_are_not_joined(deployed: Pipelines) -> None:
    """A late process of `await_preprocess` has replaced the job, but not the counts."""
    deployed.write(document())
    deployed.upload(1, ["a,F,30", "b,M,40"])
    run = deployed.run("r1", 1, lambda _: 0.5)
    run.task(task_ids.PLAN, plan.plan_run)
    run.prepare()
    groups = run.collect_shards()
    run.transform()
    job = run.xcoms[handoffs.PREPROCESS_JOB]
    name = f"{job['job_name'].removesuffix('-1')}-2"
    run.xcoms[handoffs.PREPROCESS_JOB] = {**job, "job_name": name}
    message = f"but waited for {name}; clear `await_preprocess` and all that follows it"
    with pytest.raises(ReconciliationError, match=message):
        run.task(task_ids.JOIN, join_group.join_group, group=groups[0])


def test_records_are_never_put_beside_the_answers_to_others() -> None:
    """After `preprocess` and `await_preprocess` ran again, and the transform did not, counts may agree, rows do not."""
    source = {"S3DataType": "S3Prefix", "S3Uri": "s3://work/run/preprocess-1/features/"}
    spec = {"request": {"TransformInput": {"DataSource": {"S3DataSource": source}}}}
    check_features_origin(spec, JobPaths("s3://work/run/preprocess-1/"))
    with pytest.raises(ReconciliationError, match="clear `transform`"):
        check_features_origin(spec, JobPaths("s3://work/run/preprocess-2/"))
