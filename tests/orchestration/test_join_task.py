"""Where `join` finds the answers to a shard when a transform took more than one job."""

from __future__ import annotations

import pytest

from include.orchestration.shard_sources import Answers, check_same_run
from include.orchestration.storage import Storage
from include.scoring.errors import ReconciliationError
from include.scoring.naming import JobPaths

FIRST, SECOND = "s3://bucket/job-1/predictions/", "s3://bucket/job-2/predictions/"


@pytest.fixture
def two_jobs(storage: Storage) -> Storage:
    """The first job answered one object and stale leftovers of it lie below the second as well."""
    storage.write(f"{FIRST}a.csv.out", "1")
    storage.write(f"{SECOND}a.csv.out", "stale")
    storage.write(f"{SECOND}b.csv.out", "2")
    return storage


def test_answers_are_read_below_the_first_prefix_that_has_them(two_jobs: Storage) -> None:
    """One complete set from both jobs."""
    answers = Answers(two_jobs, [FIRST, SECOND])
    assert answers.of("features/a.csv") == f"{FIRST}a.csv.out"
    assert answers.of("features/b.csv") == f"{SECOND}b.csv.out"


def test_a_single_prefix_is_not_listed(two_jobs: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has everything, or the download says what is missing."""
    monkeypatch.setattr(two_jobs, "uris", None)
    assert Answers(two_jobs, [SECOND]).of("features/c.csv") == f"{SECOND}c.csv.out"


def test_records_are_never_put_beside_the_answers_to_others() -> None:
    """After `preprocess` and `shards` were run again, and the transform was not, counts may agree and rows do not."""
    source = {"S3DataType": "S3Prefix", "S3Uri": "s3://work/run/preprocess-1/features/"}
    spec = {"request": {"TransformInput": {"DataSource": {"S3DataSource": source}}}}
    check_same_run(spec, JobPaths("s3://work/run/preprocess-1/"))
    with pytest.raises(ReconciliationError, match="clear `transform`"):
        check_same_run(spec, JobPaths("s3://work/run/preprocess-2/"))
