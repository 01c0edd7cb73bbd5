"""Run prefixes go when their time is over, and nothing goes that is not proved to be a run's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import yaml
from botocore.exceptions import ClientError
from moto.s3.models import s3_backends

from batch_inference.aws.s3 import DeleteError, Storage
from batch_inference.common.names import RunPaths, build_history_prefix, slugify_run_id
from batch_inference.common.s3_uri import split_s3_uri
from batch_inference.config.pipeline import Pipeline
from batch_inference.publishing.retention import delete_expired_runs
from tests.integration.publications import Call, interpose
from tests.unit.builders import EXAMPLE

NOW = 2_000_000_000.0
WORK = "s3://bucket/work"
ACTIVE = "manual__active"


def is_active(dag_id: str, run_id: str) -> bool:
    """Airflow, which knows of one run that goes on."""
    assert dag_id == "abalone"
    return run_id == ACTIVE


def pipeline(**fields: Any) -> Pipeline:
    """The sample's, with its work in the test's bucket."""
    document = yaml.safe_load(EXAMPLE.read_text())
    return Pipeline.model_validate({**document, "work": WORK, **fields})


@pytest.fixture
def put(storage: Storage) -> Callable[[str, float], str]:
    """Writes an object that is so many days old at NOW; the store is empty before each test."""
    storage.delete(uri for uri, _ in list(storage.list_write_times("s3://bucket/")))

    def write(uri: str, days: float, content: str = "x") -> str:
        storage.write(uri, content)
        bucket, key = split_s3_uri(uri)
        backends = s3_backends["123456789012"]
        stored = backends["aws"].buckets[bucket].keys[key]
        stored.last_modified = stored.last_modified.fromtimestamp(NOW) - timedelta(days=days)
        return uri

    return write


@pytest.fixture
def run(put: Callable[..., str]) -> Callable[..., str]:
    """Writes what a run leaves; its prefix. `days` is the age of all of it, `newest` that of its last file."""

    def write(
        run_id: str, days: float, *, newest: float | None = None, report: bool = True, plan: Any = ()
    ) -> str:
        paths = RunPaths.from_run_id(work=WORK, pipeline="abalone", run_id=run_id)
        stated = {"pipeline": "abalone", "run_id": run_id, "run_prefix": paths.root, **dict(plan)}
        put(paths.plan, days, json.dumps(stated))
        put(
            f"{paths.build_job_paths('abalone-preprocess-1').records}part-00000.csv",
            days if newest is None else newest,
        )
        put(f"{paths.root}empty/", days)
        if report:
            put(paths.report_json, days)
        return paths.root

    return write


def left(storage: Storage) -> set[str]:
    """Folders of the pipeline in which something is left."""
    root = f"{WORK}/abalone/"
    return {uri.removeprefix(root).split("/")[0] for uri, _ in storage.list_write_times(root)}


def test_a_run_goes_when_nothing_was_written_for_its_time(storage: Storage, run: Any) -> None:
    """All of it, folder keys and the plan too; the published output lies elsewhere and is not looked at."""
    gone = run("scheduled__old", 40)
    run("scheduled__new", 29)
    storage.write("s3://bucket/scored/part-0.parquet", "x")
    assert delete_expired_runs(storage, pipeline(), is_active=is_active, now=NOW) == [gone]
    assert left(storage) == {"scheduled__new"}
    assert storage.list_uris("s3://bucket/scored/") == ["s3://bucket/scored/part-0.parquet"]
    assert delete_expired_runs(storage, pipeline(), is_active=is_active, now=NOW) == []


def test_what_is_in_use_stays(storage: Storage, run: Any) -> None:
    """An active run, a run that was cleared lately and wrote again, and the last run with a report, however old."""
    run(ACTIVE, 50)
    run("manual__cleared", 50, newest=1)
    run("scheduled__last", 40)
    run("scheduled__without_a_report", 35, report=False)
    gone = run("scheduled__before", 45)
    made = delete_expired_runs(storage, pipeline(), is_active=is_active, now=NOW)
    assert sorted(made) == sorted([gone, f"{WORK}/abalone/scheduled__without_a_report/"])
    assert left(storage) == {ACTIVE, "manual__cleared", "scheduled__last"}


def test_the_keeping_time_is_the_pipelines(storage: Storage, run: Any) -> None:
    """Days; null is for ever."""
    run("scheduled__last", 1)
    run("scheduled__a", 3)
    gone = run("scheduled__b", 8)
    assert delete_expired_runs(storage, pipeline(keep_runs_days=None), is_active=is_active, now=NOW) == []
    assert delete_expired_runs(storage, pipeline(keep_runs_days=7), is_active=is_active, now=NOW) == [gone]
    assert left(storage) == {"scheduled__last", "scheduled__a"}


@pytest.mark.parametrize(
    "plan",
    [
        {"pipeline": "salmon"},
        {"run_id": "scheduled__another"},
        {"run_id": 7},
        {"run_prefix": f"{WORK}/abalone/"},
        {"run_prefix": f"{WORK}/abalone/scheduled__another/"},
    ],
    ids=["of another pipeline", "of another run", "no run id", "of all runs", "elsewhere"],
)
def test_a_folder_whose_plan_does_not_prove_it_stays(
    storage: Storage, run: Any, plan: dict[str, Any]
) -> None:
    """A copy, a folder somebody moved, a plan somebody edited."""
    run("scheduled__last", 1)
    run("scheduled__old", 400, plan=plan)
    assert delete_expired_runs(storage, pipeline(), is_active=is_active, now=NOW) == []
    assert "scheduled__old" in left(storage)


def test_what_is_no_run_stays(storage: Storage, run: Any, put: Any) -> None:
    """History, however it came to hold a plan; folders and files of somebody else; a neighbour with a longer name."""
    run("scheduled__last", 1)
    history = build_history_prefix(work=WORK, pipeline="abalone")
    plan = {"pipeline": "abalone", "run_id": "_history", "run_prefix": history}
    kept = [
        put(f"{history}20260101T000000Z-1.parquet", 400),
        put(f"{history}plan.json", 400, json.dumps(plan)),
        put(f"{WORK}/abalone/notes/read-me.txt", 400),
        put(f"{WORK}/abalone/plan.json", 400, json.dumps({**plan, "run_prefix": f"{WORK}/abalone/"})),
        put(f"{WORK}/abalone2/scheduled__old/plan.json", 400, json.dumps(plan)),
        put(f"{WORK}/abalone/deeper/scheduled__old/plan.json", 400, json.dumps(plan)),
    ]
    assert delete_expired_runs(storage, pipeline(), is_active=is_active, now=NOW) == []
    assert set(kept) <= {uri for uri, _ in storage.list_write_times("s3://bucket/")}


def test_no_run_has_the_name_of_what_belongs_to_all() -> None:
    """Airflow takes `_history` for a run id."""
    assert not slugify_run_id("_history").startswith("_")
    assert slugify_run_id("_history") != slugify_run_id("history")


def test_a_deletion_that_was_cut_off_is_taken_up_again(
    storage: Storage, run: Any, put: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan, which proves what the rest is, goes last; and objects go by many with each call."""
    run("scheduled__last", 1)
    gone = run("scheduled__old", 40)
    for number in range(15):
        put(f"{gone}predictions/{number:04}.out", 40)
    monkeypatch.setattr("batch_inference.aws.s3.MAX_DELETED_KEYS", 10)
    delete, asked = storage.client.delete_objects, []

    def cut_off(**request: Any) -> Any:
        asked.append(len(request["Delete"]["Objects"]))
        if len(asked) == 2:
            raise ClientError({"Error": {"Code": "SlowDown", "Message": "later"}}, "DeleteObjects")
        return delete(**request)

    monkeypatch.setattr(storage.client, "delete_objects", cut_off)
    with pytest.raises(ClientError):
        delete_expired_runs(storage, pipeline(), is_active=is_active, now=NOW)
    assert RunPaths(gone).plan in storage.list_uris(gone)
    assert delete_expired_runs(storage, pipeline(), is_active=is_active, now=NOW) == [gone]
    assert storage.list_uris(gone) == []
    # Ten; eight that were cut off; the same eight again, and the plan by itself.
    assert asked == [10, 8, 8, 1]


def test_what_s3_does_not_delete_is_told(storage: Storage, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers 200 and lists what it kept: that is no success."""
    run("scheduled__last", 1)
    gone = run("scheduled__old", 40)
    refused = {"Key": "work/x", "Code": "AccessDenied", "Message": "no"}
    monkeypatch.setattr(storage.client, "delete_objects", lambda **_: {"Errors": [refused]})
    with pytest.raises(
        DeleteError, match=r"1 of 3 objects were not deleted; the first is s3://bucket/work/x: Acc"
    ):
        delete_expired_runs(storage, pipeline(), is_active=is_active, now=NOW)
    assert RunPaths(gone).plan in storage.list_uris(gone)


def test_what_a_run_writes_that_is_cleared_while_it_is_deleted_stays(storage: Storage, run: Any) -> None:
    """The janitor is stopped between its look and its DELETE."""
    run("scheduled__last", 1)
    gone = run("scheduled__old", 40)
    plan, records = RunPaths(gone).plan, f"{gone}abalone-preprocess-2/records/part-00000.csv"

    def around(_name: str, _arguments: Any, call: Call) -> Any:
        storage.write(plan, "anew")
        storage.write(records, "x")
        return call()

    interpose(storage, lambda: delete_expired_runs(storage, pipeline(), is_active=is_active, now=NOW), around)
    assert storage.list_uris(gone) == [records, plan]
