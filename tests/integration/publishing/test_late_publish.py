"""Two processes publish at once, one of them late: what the other one published stays whole, and nothing is left."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from batch_inference.aws.s3 import Storage
from batch_inference.common.errors import ReconciliationError
from batch_inference.config.pipeline_files import load_pipeline_by_id
from batch_inference.dag import janitor
from batch_inference.dag.tasks import checks, plan, publish, report
from batch_inference.dag.tasks.join_group import join_group
from batch_inference.publishing import earlier_runs
from batch_inference.publishing.claims import OvertakenError
from batch_inference.publishing.output import read_published
from batch_inference.publishing.output_cleanup import delete_obsolete_parts
from batch_inference.run import task_ids
from tests.integration import publications
from tests.integration.publications import (
    JOURNAL,
    OTHER,
    OUT,
    RUN,
    Call,
    clean,
    get_part_name,
    interpose,
    publication,
    run_until_change,
)  # fmt: skip
from tests.integration.staged_runs import FakeTaskInstance, Pipelines, Run, deployed, document, published

__all__ = ["deployed"]

BY_DATE = "s3://bucket/out/date=2026-01-05/"


@pytest.fixture(autouse=True)
def empty(storage: Storage) -> None:
    """Each test starts with nothing published."""
    storage.delete(storage.list_uris("s3://bucket/"))


def listed(storage: Storage, prefix: str = OUT) -> set[str]:
    """Names of what a listing shows."""
    return {uri.removeprefix(prefix) for uri in storage.list_uris(prefix)}


def is_readable(storage: Storage, output: str = OUT) -> bool:
    """Whether a reader of the manifest finds all its files."""
    found = read_published(storage, output, "churn")
    return found is not None and set(found.part_uris) <= set(storage.list_uris(output))


def scored(deployed: Pipelines, run_id: str, score: float, count: int) -> Run:
    """A run of the fifth that has done all but publish."""
    run = deployed.run(run_id, 5, lambda _: score)
    deployed.upload(5, [f"r{n},f,{n}" for n in range(count)])
    run.task(task_ids.PLAN, plan.plan_run)
    run.prepare()
    run.collect_shards()
    run.transform()
    joined = [
        run.task(task_ids.JOIN, join_group, group=group)
        for group in run.xcoms[task_ids.AWAIT_PREPROCESS, "return_value"]
    ]
    run.task(task_ids.CHECKS, checks.run_checks, joined=joined)
    return run


@pytest.mark.parametrize(
    ("successor", "grace_minutes"), [("the same run", 0), ("the same run", 15), ("another run", 0)]
)
def test_a_publish_that_is_stopped_anywhere_spoils_nothing_of_its_successor(
    deployed: Pipelines, successor: str, grace_minutes: int
) -> None:
    """Before each change that it makes, its DELETE among them: what the successor published is whole, and recorded."""
    output = {"uri": "s3://bucket/out/date={date}/", "grace_minutes": grace_minutes}
    deployed.write(document(output=output))
    deployed.active = {"late", "other"}
    late = scored(deployed, "late", 0.25, 20)
    other = late if successor == "the same run" else scored(deployed, "other", 0.75, 30)
    storage, rows = deployed.storage, 20 if other is late else 30
    for number in itertools.count(1):
        done: list[dict[str, Any]] = []
        outcome: list[str] = []

        def body(outcome: list[str] = outcome) -> None:
            try:
                late.task(task_ids.PUBLISH, publish.publish)
            except ReconciliationError as error:
                outcome.append(str(error))

        if not run_until_change(
            number,
            storage,
            body,
            lambda done=done: done.append(other.task(task_ids.PUBLISH, publish.publish)),
        ):
            break
        frame, manifest = published(storage, BY_DATE)
        assert len(frame) == rows, number
        assert [file["uri"] for file in manifest["files"]] == done[0]["files"], number
        assert "_SUCCESS" in listed(storage, BY_DATE)
        recorded = storage.read_json(
            earlier_runs.build_run_record_uri(
                load_pipeline_by_id("churn"),
                datetime.fromisoformat(manifest["data_time"]),
                manifest["run_id"],
            )
        )
        assert recorded["rows"] == rows
        assert storage.read_json(recorded["statistics"])["rows"] == rows
        assert not outcome or (other is not late and "another run published" in outcome[0])
    assert number > 7
    final, manifest = published(storage, BY_DATE)
    assert set(final["churn"]) == {0.25}
    delete_obsolete_parts(
        storage, load_pipeline_by_id("churn"), is_active=lambda *_: False, now=time.time() + 3600
    )
    files = {file["uri"].removeprefix(BY_DATE) for file in manifest["files"]}
    assert listed(storage, BY_DATE) == {*files, "_manifest.json", "_SUCCESS"}
    assert storage.list_uris(JOURNAL) == []


def test_checks_that_are_stopped_anywhere_overwrite_nothing_of_their_successor(deployed: Pipelines) -> None:
    """Its documents are read by `publish` and `report`."""
    deployed.write(document())
    run = scored(deployed, "late", 0.25, 20)
    joined = [run.xcoms[task_ids.JOIN, "return_value"]]
    run.conf = {"output_uri": "s3://bucket/late/"}
    storage = deployed.storage
    overtaken: list[str] = []

    def successor() -> None:
        run.conf = {}
        run.task(task_ids.CHECKS, checks.run_checks, joined=joined)

    def late() -> None:
        run.conf = {"output_uri": "s3://bucket/late/"}
        try:
            run.task(task_ids.CHECKS, checks.run_checks, joined=joined)
        except OvertakenError as error:
            overtaken.append(str(error))

    for number in range(1, 5):
        assert run_until_change(number, storage, late, successor)
        assert storage.read_json(run.paths.scored_run)["requested_output"] == "s3://bucket/out/date={date}/"
        assert storage.read_json(run.paths.checks)["state"] == "passed"
        assert storage.read_json(run.paths.statistics)["rows"] == 20
    assert len(overtaken) == 4
    assert "was written by another process of this task" in overtaken[0]


def test_a_publish_that_wakes_up_before_it_has_looked_publishes_nothing_over_a_later_run(
    deployed: Pipelines,
) -> None:
    """The manifest that it would find, and replace, is the later run's; Airflow has long had its own next try."""
    deployed.write(document(output={"uri": "s3://bucket/out/date={date}/", "grace_minutes": 0}))
    late, other = scored(deployed, "late", 0.25, 20), scored(deployed, "other", 0.75, 30)
    late.task(task_ids.PUBLISH, publish.publish)
    other.task(task_ids.PUBLISH, publish.publish)
    was = listed(deployed.storage, BY_DATE)
    late.states = {task_ids.PUBLISH: "success"}
    with pytest.raises(OvertakenError, match=r"`publish` of late is over \(success\)"):
        late.task(task_ids.PUBLISH, publish.publish)
    assert listed(deployed.storage, BY_DATE) == was
    assert len(published(deployed.storage, BY_DATE)[0]) == 30
    assert deployed.storage.list_uris(JOURNAL) == []
    # Cleared by a person it is another matter.
    late.states = {task_ids.PUBLISH: "running"}
    late.task(task_ids.PUBLISH, publish.publish)
    assert len(published(deployed.storage, BY_DATE)[0]) == 20


@pytest.mark.parametrize("task_id", [task_ids.PLAN, task_ids.CHECKS, task_ids.CLEAN_UP])
def test_a_task_that_wakes_up_when_it_is_over_overwrites_no_document(
    deployed: Pipelines, task_id: str
) -> None:
    """Before it has noted which it replaces: those that it would find are its successor's."""
    deployed.write(document())
    run = scored(deployed, "late", 0.25, 20)
    run.task(task_ids.PUBLISH, publish.publish)
    run.task(task_ids.CLEAN_UP, report.write_report)
    joined = [run.xcoms[task_ids.JOIN, "return_value"]]
    prefix = run.paths.root
    was = {uri: deployed.storage.read_etag(uri) for uri in deployed.storage.list_uris(prefix)}
    run.states = {task_id: "success"}
    body = {
        task_ids.PLAN: plan.plan_run,
        task_ids.CHECKS: checks.run_checks,
        task_ids.CLEAN_UP: report.write_report,
    }[task_id]
    more = {"joined": joined} if task_id == task_ids.CHECKS else {}
    with pytest.raises(OvertakenError, match="is too late"):
        run.task(task_id, body, **more)
    assert {uri: deployed.storage.read_etag(uri) for uri in deployed.storage.list_uris(prefix)} == was


def test_a_plan_that_is_stopped_anywhere_hands_on_nothing_in_place_of_its_successors(
    deployed: Pipelines,
) -> None:
    """The run would go on by a plan whose document is another one, and fail."""
    deployed.write(document())
    deployed.upload(5, ["r1,f,1"])
    storage = deployed.storage
    for number in itertools.count(1):
        run = deployed.run(f"run-{number}", 5, lambda _: 0.5)
        overtaken: list[OvertakenError] = []

        def successor(run: Run = run) -> None:
            run.task(task_ids.PLAN, plan.plan_run)
            run.states[task_ids.PLAN] = "success"

        def late(run: Run = run, overtaken: list[OvertakenError] = overtaken) -> None:
            try:
                run.task(task_ids.PLAN, plan.plan_run)
            except OvertakenError as error:
                overtaken.append(error)

        if not run_until_change(number, storage, late, successor):
            break
        assert len(overtaken) == 1, number
        assert run.json(run.paths.plan)["nonce"] == run.xcoms[task_ids.PLAN, "return_value"]["nonce"]
    assert number > 4


def refusal(name: str, status: int, code: str, *, retries: int = 0) -> ClientError:
    """A refusal, as botocore has it after one try and so many more."""
    metadata = {"HTTPStatusCode": status, "RetryAttempts": retries}
    return ClientError(
        {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": metadata},  # type: ignore[typeddict-item]
        name,
    )


def denied(name: str) -> ClientError:
    """For good."""
    return refusal(name, 403, "AccessDenied")


def fail_at(number: int) -> Callable[[str, Mapping[str, Any], Call], Any]:
    """Refuses the `number`-th change."""
    count = itertools.count(1)

    def around(name: str, _arguments: Mapping[str, Any], call: Call) -> Any:
        if next(count) == number:
            raise denied(name)
        return call()

    return around


@pytest.mark.parametrize("number", range(1, 6))
def test_a_try_that_fails_removes_its_own_parts(storage: Storage, number: int) -> None:
    """Its entry, two parts, its word that it commits, the manifest: whichever is refused."""
    before = publications.publish(publication(storage, "nightly-0"), 0)
    was = listed(storage)
    with pytest.raises(ClientError, match="AccessDenied"):
        interpose(storage, lambda: publications.publish(publication(storage), 0, 1), fail_at(number))
    assert listed(storage) == was
    assert storage.read_json(f"{OUT}_manifest.json") == before
    assert [uri for uri in storage.list_uris(JOURNAL) if RUN in uri] == []


def lose_manifest(*, arrives: bool) -> Callable[[str, Mapping[str, Any], Call], Any]:
    """The connection breaks at the PUT of the manifest, which S3 has got or has not got yet."""

    def around(_name: str, arguments: Mapping[str, Any], call: Call) -> Any:
        if not str(arguments.get("Key")).endswith("_manifest.json"):
            return call()
        if arrives:
            call()
        raise ConnectionClosedError(endpoint_url="http://s3")

    return around


def test_a_commit_whose_answer_never_came_is_looked_for(storage: Storage) -> None:
    """It is there: the try goes on."""
    interpose(storage, lambda: publications.publish(publication(storage), 0), lose_manifest(arrives=True))
    assert listed(storage) == {get_part_name(0), "_manifest.json", "_SUCCESS"}


def late_commit(storage: Storage, rows: int = 1) -> Callable[[], None]:
    """A try whose manifest is on its way when the try ends; gives what lets it arrive."""
    sent: list[Mapping[str, Any]] = []

    def around(_name: str, arguments: Mapping[str, Any], call: Call) -> Any:
        if not str(arguments.get("Key")).endswith("_manifest.json"):
            return call()
        sent.append(arguments)
        raise ConnectionClosedError(endpoint_url="http://s3")

    with pytest.raises(ConnectionClosedError):
        interpose(storage, lambda: publications.publish(publication(storage), 0, rows=rows), around)

    def arrive() -> None:
        with contextlib.suppress(ClientError):
            storage.client.put_object(**sent[0])

    return arrive


def test_a_commit_that_may_still_arrive_keeps_its_parts(storage: Storage) -> None:
    """Else it would publish files that are gone; also hours later, with the run over."""
    arrive = late_commit(storage)
    assert clean(storage, minutes=600) == []
    arrive()
    assert is_readable(storage)
    assert clean(storage, minutes=600) == []
    assert is_readable(storage)


@pytest.mark.parametrize("repeated", [True, False])
def test_a_conflict_at_the_commit_does_not_say_that_another_run_was_first(
    storage: Storage, repeated: bool
) -> None:
    """S3 answers 409 while another PUT is under way: the first one of the same try, where botocore has repeated it."""
    sent: list[Mapping[str, Any]] = []

    def around(name: str, arguments: Mapping[str, Any], call: Call) -> Any:
        if not str(arguments.get("Key")).endswith("_manifest.json"):
            return call()
        sent.append(arguments)
        raise refusal(name, 409, "ConditionalRequestConflict", retries=int(repeated))

    with pytest.raises(ClientError, match="ConditionalRequestConflict"):
        interpose(storage, lambda: publications.publish(publication(storage), 0), around)
    if repeated:
        storage.client.put_object(**sent[0])
        assert is_readable(storage)
    else:
        assert listed(storage) == set()


def test_a_late_commit_of_ones_own_earlier_try_stands(storage: Storage) -> None:
    """The next try finds it instead of what it replaces: the same rows of the same plan."""
    arrive = late_commit(storage)
    manifest = publications.publish(publication(storage, try_number=2), 0, meanwhile=arrive)
    assert [file["uri"] for file in manifest["files"]] == [f"{OUT}{get_part_name(0)}"]
    assert listed(storage) == {get_part_name(0), "_manifest.json", "_SUCCESS"}


def test_a_late_commit_of_other_rows_of_the_same_plan_is_refused(storage: Storage) -> None:
    """As after a clear of `join_group`: nobody may take the one for the other."""
    arrive = late_commit(storage, rows=2)
    with pytest.raises(ReconciliationError, match="another run published"):
        publications.publish(publication(storage, try_number=2), 0, meanwhile=arrive)
    publications.publish(publication(storage, try_number=3), 0)
    assert is_readable(storage)


def test_a_commit_that_arrives_after_the_next_try_is_refused(storage: Storage) -> None:
    """Its parts go with that one's end."""
    arrive = late_commit(storage)
    publications.publish(publication(storage, try_number=2), 0)
    assert clean(storage, active={RUN}, published_in=RUN) == [get_part_name(0)]
    arrive()
    assert listed(storage) == {get_part_name(0, try_number=2), "_manifest.json", "_SUCCESS"}


def killed(storage: Storage, run_id: str = RUN, *, stopped_at: str = "part-1") -> None:
    """A try whose process ends, without a word, when it is about to write what is called so."""

    class Killed(BaseException):
        pass

    def around(_name: str, arguments: Mapping[str, Any], call: Call) -> Any:
        if stopped_at in str(arguments.get("Key")) or dead:
            dead.append(True)
            raise Killed
        return call()

    dead: list[bool] = []
    with pytest.raises(Killed):
        interpose(storage, lambda: publications.publish(publication(storage, run_id), 0, 1), around)


@pytest.mark.parametrize("has_manifest", [True, False])
def test_parts_of_a_killed_try_go_after_the_grace_time_and_once_its_run_is_over(
    storage: Storage, has_manifest: bool
) -> None:
    """A live publish's parts are named by no manifest yet either."""
    if has_manifest:
        publications.publish(publication(storage, "nightly-0"), 0)
    killed(storage)
    assert get_part_name(0) in listed(storage)
    assert clean(storage, minutes=11, active={RUN}) == []
    assert clean(storage, minutes=9) == []
    assert clean(storage, minutes=11) == [get_part_name(0)]
    assert clean(storage, minutes=22) == []
    assert storage.list_uris(JOURNAL) == []


def test_parts_that_no_run_can_publish_any_more_wait_for_their_run_too(storage: Storage) -> None:
    """It would meet missing files, and not be told that another run was published meanwhile."""
    killed(storage)
    publications.publish(publication(storage, OTHER), 0)
    assert clean(storage, minutes=11, active={RUN}, published_in=OTHER) == []
    assert clean(storage, minutes=11, published_in=OTHER) == [get_part_name(0)]
    assert storage.list_uris(JOURNAL) == []


def test_a_try_that_wakes_up_after_it_was_given_up_publishes_nothing(storage: Storage) -> None:
    """Its parts are gone, and nothing has been published in between that would refuse its manifest."""

    def give_up() -> None:
        assert clean(storage, minutes=11) == [get_part_name(0)]

    with pytest.raises(ReconciliationError, match="was abandoned"):
        publications.publish(publication(storage), 0, meanwhile=give_up)
    assert listed(storage) == set()
    assert storage.list_uris(JOURNAL) == []


def test_of_giving_up_and_committing_one_succeeds(storage: Storage) -> None:
    """Who cleans is stopped between its look and its word, and the try commits."""
    run = publication(storage)

    def around(_name: str, arguments: Mapping[str, Any], call: Call) -> Any:
        if b'"abandoned"' in arguments.get("Body", b""):
            commit()
        return call()

    def commit() -> None:
        manifest.update(run.commit(dict(manifest)))

    manifest: dict[str, Any] = {}
    with run.begin_attempt(publications.build_joined_parts(0)):
        manifest = publications.copy_parts_and_build_manifest(run, 0)
        interpose(storage, lambda: clean(storage, minutes=11), around)
    assert is_readable(storage)


@pytest.mark.parametrize("successor", [RUN, OTHER])
def test_who_cleans_and_is_stopped_before_its_delete_deletes_nothing_that_is_published_meanwhile(
    storage: Storage, successor: str
) -> None:
    """Nor what a reader of the manifest before still may read."""
    publications.publish(publication(storage, "nightly-0"), 0)
    publications.publish(publication(storage, "nightly-1"), 0)
    killed(storage, "nightly-2")
    deleted: list[str] = []

    def around(name: str, arguments: Mapping[str, Any], call: Call) -> Any:
        if name == "delete_objects":
            if not deleted:
                publications.publish(publication(storage, successor, try_number=2), 0, 1)
            deleted.extend(each["Key"].rsplit("/", 1)[1] for each in arguments["Delete"]["Objects"])
        return call()

    interpose(storage, lambda: clean(storage, minutes=11), around)
    assert is_readable(storage)
    assert deleted[:2] == [get_part_name(0, "nightly-0"), get_part_name(0, "nightly-2")]
    assert get_part_name(0, "nightly-1") in listed(storage)
    new = {get_part_name(0, successor, 2), get_part_name(1, successor, 2)}
    assert listed(storage) == {get_part_name(0, "nightly-1"), *new, "_manifest.json", "_SUCCESS"}


def test_a_report_is_of_what_its_run_published_though_another_has_published_since(
    deployed: Pipelines,
) -> None:
    """To the same place, where nothing is left of the first one."""
    deployed.write(document(output={"uri": "s3://bucket/out/date={date}/", "grace_minutes": 0}))
    first, second = scored(deployed, "first", 0.25, 20), scored(deployed, "second", 0.75, 30)
    first.task(task_ids.PUBLISH, publish.publish)
    second.task(task_ids.PUBLISH, publish.publish)
    first.task(task_ids.CLEAN_UP, report.write_report)
    figures = deployed.storage.read_json(first.paths.report_json)
    assert figures["output"]["rows"] == 20
    assert figures["records"]["scored"] == 20
    assert {row["churn"] for row in figures["first_rows"]} == {0.25}


def test_a_run_is_published_although_old_parts_cannot_be_deleted(
    deployed: Pipelines, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The janitor, which may, deletes them; it fails where it may not either, for people to see."""
    deployed.write(document(output={"uri": "s3://bucket/out/date={date}/", "grace_minutes": 0}))
    run = scored(deployed, "first", 0.25, 20)
    run.task(task_ids.PUBLISH, publish.publish)

    def around(name: str, _arguments: Mapping[str, Any], call: Call) -> Any:
        if name == "delete_objects":
            raise denied(name)
        return call()

    interpose(deployed.storage, lambda: run.task(task_ids.PUBLISH, publish.publish), around)
    assert "the run is published; obsolete part files remain" in caplog.text
    assert len([name for name in listed(deployed.storage, BY_DATE) if name.startswith("part-")]) == 2
    monkeypatch.setattr(
        "batch_inference.config.pipeline_files._FOLDERS", defaultdict(lambda: deployed.folder)
    )
    ti = FakeTaskInstance(run, "clean_up_outputs")
    ti.active = set()  # the run is over
    with pytest.raises(ClientError, match="AccessDenied"):
        interpose(deployed.storage, lambda: janitor.clean_up_outputs(ti=ti), around)
    assert len(janitor.clean_up_outputs(ti=ti)) == 1
    assert len([name for name in listed(deployed.storage, BY_DATE) if name.startswith("part-")]) == 1
    assert is_readable(deployed.storage, BY_DATE)
