"""Who is notified of a late run, and how often: once, whoever looks and whatever is killed."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar
from uuid import uuid4

import pytest
import yaml
from airflow.sdk import DAG, BaseNotifier
from pydantic import ValidationError

from batch_inference.aws.s3 import Storage
from batch_inference.common.names import RunPaths, build_late_prefix
from batch_inference.config.pipeline import Pipeline
from batch_inference.dag import late_runs
from batch_inference.dag.late_runs import (
    CLAIM_SECONDS,
    MAX_ATTEMPTS,
    notify_of_late_end,
    notify_of_pipeline,
    notify_once,
)
from batch_inference.planning.plan import Plan
from batch_inference.run.outcomes import parse_due_time
from tests.unit.builders import document, plan

HOUR = timedelta(hours=1)
#: The context of the run `r`.
CONTEXT = {
    "run_id": "r",
    "ti": SimpleNamespace(dag_id="churn", run_id="r"),
    "dag": DAG("churn", schedule=None),
}


class Recorder(BaseNotifier):
    """Keeps what it was told; fails as long as its message is among the broken ones."""

    template_fields = ("message",)
    told: ClassVar[list[str]] = []
    broken: ClassVar[set[str]] = set()

    def __init__(self, message: str) -> None:
        super().__init__()
        self.message = message

    def notify(self, context: Any) -> None:
        """Keep the rendered message."""
        assert context["run_id"]
        if self.message in self.broken:
            raise ConnectionError("no chat")
        self.told.append(self.message)


class Task:
    """The janitor's task instance, in an Airflow with these runs that are queued or running, and one that has ended."""

    task_id = "notify_of_late_runs"

    def __init__(self, active: dict[str, dict[str, str | None]]) -> None:
        self.active = active

    def get_dr_count(self, dag_id: str, states: list[str], run_ids: list[str] | None = None) -> int:
        """As Airflow counts runs."""
        assert (dag_id, states) == ("churn", ["queued", "running"])
        return sum(run_id in self.active for run_id in (self.active if run_ids is None else run_ids))

    def get_task_states(
        self, dag_id: str, task_ids: list[str] | None = None, run_ids: list[str] | None = None
    ) -> dict[str, dict[str, str | None]]:
        """As Airflow tells them, by run; of a run that was marked failed too, whose `clean_up` has no state."""
        assert dag_id == "churn"
        runs = {**self.active, "ended": {"clean_up": "success"}, "marked": {"clean_up": None}}
        return {
            run_id: {task: state for task, state in states.items() if task_ids is None or task in task_ids}
            for run_id, states in runs.items()
            if run_ids is None or run_id in run_ids
        }


@pytest.fixture(autouse=True)
def told() -> list[str]:
    """What the notifiers of this test were told."""
    Recorder.told.clear()
    Recorder.broken.clear()
    return Recorder.told


def named(*messages: str) -> list[dict[str, Any]]:
    """Notifiers with these messages."""
    return [{"notifier": f"{__name__}.Recorder", "arguments": {"message": each}} for each in messages]


@pytest.fixture
def config(storage: Storage) -> Pipeline:
    """A pipeline with a deadline and a notifier, with a work prefix of its own."""
    changes = {
        "aws_conn_id": "aws_test", "work": f"s3://bucket/work-{uuid4().hex}", "goals.deadline": 60,
        "notify": {"on_late": named("{{ ti.dag_id }}/{{ ti.run_id }}: {{ late }}")},
    }  # fmt: skip
    return Pipeline.model_validate(document(changes))


def now() -> datetime:
    """Of each call: a whole run of the tests takes longer than some of the times here."""
    return datetime.now(UTC)


def scheduled(before: timedelta) -> str:
    """The id of a run that should have begun so long ago."""
    return f"scheduled__{(now() - before).isoformat()}"


def run_paths(config: Pipeline, run_id: str) -> RunPaths:
    """Where the run's files are."""
    return RunPaths.from_run_id(work=config.work, pipeline="churn", run_id=run_id)


def write_plan(storage: Storage, config: Pipeline, run_id: str, due: datetime, seconds: float = 60) -> Plan:
    """The plan of a run that was planned now."""
    made = plan(of=config)
    estimate = made.estimate.model_copy(update={"seconds": seconds})
    root = run_paths(config, run_id).root
    made = made.model_copy(update={"run_id": run_id, "run_prefix": root, "due": due, "estimate": estimate})
    storage.write(made.paths.plan, json.dumps(made.to_xcom()))
    return made


def test_a_run_that_is_queued_beyond_its_deadline_is_told_once(config: Pipeline, told: list[str]) -> None:
    """By templates about that run, not about the janitor; a run that is in time is not."""
    late, in_time = scheduled(2 * HOUR), scheduled(HOUR / 2)
    ti = Task({late: {"plan": None, "clean_up": None}, in_time: {"plan": "running", "clean_up": None}})
    context = {"ti": ti, "run_id": "janitor's", "dag": None}
    assert notify_of_pipeline(config, context) == [late]
    assert notify_of_pipeline(config, context) == []
    (message,) = told
    assert message.startswith(f"churn/{late}: churn, run {late}, is late: its deadline was ")
    other = late_runs.build_run_context(context, config, late)
    assert (other["ti"].task_id, other["dag"].dag_id, other["run_id"]) == (ti.task_id, "churn", late)
    assert message.endswith("It has not begun.")


def test_a_run_that_will_miss_its_deadline_is_told_before_and_not_again_when_it_has(
    storage: Storage, config: Pipeline, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run by hand too, since it has a plan."""
    states = {"plan": "success", "preprocess": "success", "await_preprocess": "deferred", "clean_up": None}
    write_plan(storage, config, "by hand", now() + HOUR, seconds=7200)
    assert notify_of_pipeline(config, {"ti": Task({"by hand": states})}) == ["by hand"]
    (message,) = told
    assert "will be late" in message
    assert "It is at `await_preprocess`" in message
    made = Plan.from_document(storage.read_json(run_paths(config, "by hand").plan), "plan.json")
    late = made.model_copy(update={"due": now() - HOUR})
    monkeypatch.setattr(late_runs, "load_pipeline_by_id", lambda _: config)
    notify_of_late_end("churn", late, {"dag_run": SimpleNamespace(run_id="by hand")})
    assert len(told) == 1


@pytest.fixture
def ended_late(storage: Storage, config: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Ends the run `r`, which was planned to be over an hour ago, and of which `clean_up` notifies."""
    monkeypatch.setattr(late_runs, "load_pipeline_by_id", lambda _: config)
    made = write_plan(storage, config, "r", now() - HOUR)
    return lambda: notify_of_late_end("churn", made, {**CONTEXT, "dag_run": SimpleNamespace(run_id="r")})


def list_entries(storage: Storage, config: Pipeline) -> list[str]:
    """The runs of which somebody may still have to be notified."""
    prefix = build_late_prefix(work=config.work, pipeline="churn")
    return [uri.removeprefix(prefix) for uri in storage.list_uris(prefix)]


def test_a_notice_that_a_killed_janitor_left_is_told_after_the_end_of_the_run(
    storage: Storage,
    config: Pipeline,
    told: list[str],
    monkeypatch: pytest.MonkeyPatch,
    ended_late: Callable[[], None],
) -> None:
    """`clean_up` finds the claim and leaves it; no run is active when the claim is old enough."""

    def kill(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(late_runs, "build_notifiers", kill)
        with pytest.raises(KeyboardInterrupt):
            notify_of_pipeline(config, {"ti": Task({"r": {"plan": "success", "clean_up": None}})})
    ended_late()
    assert notify_of_pipeline(config, {"ti": Task({})}) == []
    assert told == []
    monkeypatch.setattr(late_runs, "CLAIM_SECONDS", 0.0)
    assert [notify_of_pipeline(config, {"ti": Task({})}) for _ in range(2)] == [["r"], []]
    (message,) = told
    assert message.startswith("churn/r: churn, run r, is late: ")
    assert list_entries(storage, config) == []


def test_a_notifier_that_fails_in_clean_up_is_called_by_the_janitor(
    storage: Storage, config: Pipeline, told: list[str], ended_late: Callable[[], None]
) -> None:
    """Five times in all; then the notice is given up."""
    config.notify.on_late[0].arguments["message"] = "late"
    Recorder.broken.add("late")
    ended_late()
    assert list_entries(storage, config) == ["r.json"]
    assert notify_of_pipeline(config, {"ti": Task({})}) == ["r"]
    Recorder.broken.clear()
    assert [notify_of_pipeline(config, {"ti": Task({})}) for _ in range(2)] == [["r"], []]
    assert told == ["late"]
    assert list_entries(storage, config) == []


def test_a_notice_that_always_fails_is_given_up(
    storage: Storage, config: Pipeline, ended_late: Callable[[], None]
) -> None:
    config.notify.on_late[0].arguments["message"] = "late"
    Recorder.broken.add("late")
    ended_late()
    looks = [notify_of_pipeline(config, {"ti": Task({})}) for _ in range(MAX_ATTEMPTS)]
    assert looks == [["r"]] * (MAX_ATTEMPTS - 1) + [[]]
    assert list_entries(storage, config) == []


def test_a_damaged_file_of_one_run_does_not_keep_the_others_from_being_told(
    storage: Storage, config: Pipeline, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan of another version, a damaged notice, a damaged entry: each is an error, after all were tried."""
    late = scheduled(2 * HOUR)
    storage.write(run_paths(config, "a plan").plan, '{"version": 0}')
    storage.write(run_paths(config, "notice").late, "{}")
    write_plan(storage, config, "notice", now() - HOUR)
    storage.write(late_runs.build_entry_uri(config, "entry"), "{}")
    active: dict[str, dict[str, str | None]] = {
        "a plan": {"plan": "success", "clean_up": None},
        "notice": {"plan": "success", "clean_up": None},
        late: {"plan": None, "clean_up": None},
    }
    with pytest.raises(ValidationError):
        notify_of_pipeline(config, {"ti": Task(active)})
    assert len(told) == 1
    monkeypatch.setattr(late_runs, "GIVE_UP_AFTER", timedelta())
    with pytest.raises(ValidationError):
        notify_of_pipeline(config, {"ti": Task({})})
    assert list_entries(storage, config) == []
    assert notify_of_pipeline(config, {"ti": Task({})}) == []


@pytest.mark.parametrize(
    "changes", [{"dry_run": True}, {"empty": True}, {"unchanged_since": "r0"}], ids=lambda each: str(*each)
)
def test_a_run_that_is_to_publish_nothing_is_not_late(
    storage: Storage,
    config: Pipeline,
    told: list[str],
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
) -> None:
    monkeypatch.setattr(late_runs, "load_pipeline_by_id", lambda _: config)
    made = write_plan(storage, config, "r", now() - HOUR).model_copy(update=changes)
    storage.write(made.paths.plan, json.dumps(made.to_xcom()))
    active: dict[str, dict[str, str | None]] = {"r": {"plan": "success", "clean_up": None}}
    assert notify_of_pipeline(config, {"ti": Task(active)}) == []
    notify_of_late_end("churn", made, {**CONTEXT, "dag_run": SimpleNamespace(run_id="r")})
    assert told == []
    assert parse_due_time(made.to_xcom()) is None


def test_an_airflow_without_a_run_of_the_pipeline_is_asked_once(config: Pipeline) -> None:
    """And a pipeline that notifies nobody costs no call at all."""
    ti = Task({})
    ti.get_task_states = None  # type: ignore[assignment,method-assign]
    assert notify_of_pipeline(config, {"ti": ti}) == []
    silent = config.model_copy(update={"notify": config.notify.model_copy(update={"on_late": ()})})
    assert notify_of_pipeline(silent, {}) == []


def test_a_plan_of_before_a_clear_does_not_count(storage: Storage, config: Pipeline, told: list[str]) -> None:
    write_plan(storage, config, "by hand", now() - HOUR)
    assert notify_of_pipeline(config, {"ti": Task({"by hand": {"plan": None, "clean_up": None}})}) == []
    assert told == []


def test_a_late_end_is_told_if_nobody_was(
    storage: Storage, config: Pipeline, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the run itself, once; not by a run that releases one that was late."""
    monkeypatch.setattr(late_runs, "load_pipeline_by_id", lambda _: config)
    made = write_plan(storage, config, "by hand", now() - HOUR)
    notify_of_late_end("churn", made, {"dag_run": SimpleNamespace(run_id="release")})
    assert told == []
    run = SimpleNamespace(dag_id="churn", run_id="by hand")
    for _ in range(2):
        notify_of_late_end("churn", made, {**CONTEXT, "dag_run": run, "run_id": run.run_id, "ti": run})
    (message,) = told
    assert message.startswith("churn/by hand: churn, run by hand, ended at ")


def test_a_pipeline_that_is_gone_is_no_reason_for_a_run_to_fail(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("batch_inference.config.pipeline_files._FOLDERS", defaultdict(lambda: tmp_path))
    (tmp_path / "churn.yaml").write_text(yaml.safe_dump({"name": "churn"}))
    notify_of_late_end("churn", None, {"dag_run": SimpleNamespace(run_id="by hand")})


def test_of_many_processes_at_a_time_one_notifies(
    storage: Storage, config: Pipeline, told: list[str]
) -> None:
    paths = run_paths(config, "r")

    def notify(_: int) -> bool:
        return notify_once(storage, paths, config, "r", "It is late.", CONTEXT)

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(notify, range(8))) == 1
    assert len(told) == 1


def test_a_notifier_that_fails_is_called_again_alone(
    storage: Storage, config: Pipeline, told: list[str]
) -> None:
    """By the next process that looks, with the same sentence, five times at most."""
    both = config.notify.model_validate({"on_late": named("chat {{ late }}", "mail {{ late }}")})
    config, paths = config.model_copy(update={"notify": both}), run_paths(config, "r")
    Recorder.broken.add("chat 1")

    def notify(sentence: str) -> bool:
        return notify_once(storage, paths, config, "r", sentence, CONTEXT)

    assert [notify("1"), notify("2")] == [True, True]
    assert told == ["mail 1"]
    Recorder.broken.clear()
    assert [notify("3"), notify("4")] == [True, False]
    assert told == ["mail 1", "chat 1"]

    paths = run_paths(config, "another")
    Recorder.broken.update({"chat 1", "mail 1"})
    assert [notify("1") for _ in range(MAX_ATTEMPTS + 2)] == [True] * MAX_ATTEMPTS + [False] * 2


def test_what_a_killed_process_has_not_noted_is_told_by_another_after_ten_minutes(
    storage: Storage, config: Pipeline, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not before: it may still be at work."""
    paths, at = run_paths(config, "r"), 1e9

    def notify(seconds: float) -> bool:
        return notify_once(storage, paths, config, "r", "Late.", CONTEXT, clock=lambda: at + seconds)

    def kill(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(late_runs, "build_notifiers", kill)
        with pytest.raises(KeyboardInterrupt):
            notify(0)
    assert not notify(CLAIM_SECONDS - 1)
    assert told == []
    assert notify(CLAIM_SECONDS)
    assert not notify(3 * CLAIM_SECONDS)
    assert len(told) == 1
