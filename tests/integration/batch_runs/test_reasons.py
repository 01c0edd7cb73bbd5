"""The first thing on a run's page and a task's tab is why it failed, waits or published nothing, and what to do."""

from __future__ import annotations

import html
import re
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event

from batch_inference.aws.s3 import Storage
from batch_inference.run.failures import MAX_HEADLINE, Failure, shorten
from batch_inference.run.outcomes import RunOutcome
from batch_runs.figures import Figures
from batch_runs.reasons import build_reason
from batch_runs.task_failures import FailedInstance
from tests.integration.batch_runs.database import START, Database
from tests.unit.builders import plan
from tests.unit.reporting.test_report import HOSTILE

Browser = Callable[[str | None], TestClient]
Pages = Callable[[str], str]
MODEL_RAISED = "The model raised KeyError: 'age' (inference.py, line 41)."
ADVICE = "Fix the code of the model, then clear `transform`."


def failure(task: str, headline: str, *, at: float = 100.0, **more: Any) -> dict[str, Any]:
    """What a task that fails pushes."""
    return Failure(
        **{
            "task_id": task, "try_number": 1, "at": at, "error": "JobFailed", "headline": headline,
            "message": headline, **more,
        }
    ).to_xcom()  # fmt: skip


def outcome(kind: Any, headline: str, **more: Any) -> dict[str, Any]:
    """What `clean_up` pushes."""
    return RunOutcome(kind=kind, headline=headline, **more).to_xcom()


@pytest.fixture(scope="module", autouse=True)
def runs(database: Database, storage: Storage) -> None:
    """Runs that failed, wait, or had nothing to do."""
    database.add_dag("open_one")
    planned = plan([20_000_000] * 2).to_xcom()

    def add(
        run_id: str,
        tasks: dict[str, str | None],
        state: str = "failed",
        *,
        plan: Any = planned,
        **handed_on: Any,
    ) -> None:
        database.add_runs("open_one", [run_id], state=state)
        database.add_tasks("open_one", run_id, tasks)
        if plan is not None:
            database.push_xcom("open_one", run_id, "plan", plan)
        for task, value in handed_on.items():
            database.push_xcom(
                "open_one", run_id, task, value, key="outcome" if task == "clean_up" else "failure"
            )

    late = {
        "transform": "success",
        "await_transform": "failed",
        "join": "upstream_failed",
        "clean_up": "failed",
    }
    of_model = failure(
        "await_transform", MODEL_RAISED, advice=ADVICE, message=f"{MODEL_RAISED}\n\nRan: 50 s.",
        job_name="churn-transform-1", log_group="/aws/sagemaker/TransformJobs",
        log_lines=["Traceback (most recent call last):", "KeyError: 'age'"],
    )  # fmt: skip
    add("model", {"plan": "success", **late}, await_transform=of_model,
        clean_up=outcome("failed", MODEL_RAISED, advice=ADVICE, failed_task="await_transform", billed_seconds=200.0,
                         idle_seconds=None, dollars=0.0128, seconds=300.0))  # fmt: skip
    # `clean_up` failed for a reason of its own as well.
    add("both", {"plan": "success", **late}, await_transform=of_model)
    database.push_xcom(
        "open_one", "both", "clean_up", failure("clean_up", "AWS denied StopTransformJob.", at=200.0), key="failure"
    )  # fmt: skip
    add("no_plan", {"plan": "failed", "preprocess": "upstream_failed", "clean_up": "failed"}, plan=None)
    database.push_xcom(
        "open_one", "no_plan", "plan", failure("plan", "s3://data/trunsactions/ holds no object."), key="failure"
    )  # fmt: skip
    add("killed", {"plan": "success", "transform": "failed", "clean_up": "failed"},
        clean_up=outcome("failed", "`transform` ended without an error.", advice="Look at the end of its log.",
                         failed_task="transform"))  # fmt: skip
    add("held", {"plan": "success", "checks": "failed", "clean_up": "failed"},
        checks=failure("checks", "The gate rows holds the run."),
        clean_up=outcome("held", "The gate rows holds the run.", failed_task="checks"))  # fmt: skip
    add("marked", {"plan": "success", "transform": "skipped", "clean_up": "success"})
    add("published_and_marked", {"plan": "success", "publish": "success", "clean_up": "success"},
        clean_up=outcome("published", "Published 5 rows at s3://data/out/."))  # fmt: skip
    add("forgotten", {"plan": "success", "clean_up": "success"}, "success", plan=None)
    add("too_early", {"plan": None, "clean_up": None}, plan=None)
    add("hostile", {"plan": "success", "transform": "failed", "clean_up": "failed"},
        transform=failure("transform", HOSTILE, advice=HOSTILE, message=HOSTILE * 2, log_lines=[HOSTILE]))  # fmt: skip
    add("waits", {"plan": "success", "preprocess": "up_for_retry", "clean_up": None}, "running",
        preprocess=failure("preprocess", "AWS has no capacity.", will_retry=True))  # fmt: skip
    database.end_task("open_one", "waits", "preprocess", START + timedelta(minutes=5))
    add("mapped", {"plan": "success", "clean_up": "failed"})
    for index, state in enumerate(("success", "failed", "failed")):
        database.add_tasks("open_one", "mapped", {"join": state}, map_index=index)
        database.end_task(
            "open_one", "mapped", "join", START + timedelta(minutes=10 - index), map_index=index
        )
        if state == "failed":
            value = failure("join", f"Shard {index} is broken.", at=10.0 - index, map_index=index)
            database.push_xcom("open_one", "mapped", "join", value, key="failure", map_index=index)
    quiet: dict[str, str | None] = {"plan": "success", "transform": "skipped", "clean_up": "success"}
    add("plan_only", quiet, "success", plan={**planned, "dry_run": True},
        clean_up=outcome("plan_only", "Only planned, as asked: no job was started."))  # fmt: skip
    add("empty", quiet, "success", clean_up=outcome("empty", "The input holds no records."))
    add(
        "unchanged",
        quiet,
        "success",
        clean_up=outcome("unchanged", "Input, model and pipeline are those of night-1."),
    )
    add("few", {"plan": "success", "publish": "success", "clean_up": "success"}, "success",
        clean_up=outcome("published", "Published 10 rows.", warnings=("10 rows; the last runs had 4,100.",),
                         billed_seconds=200.0, dollars=0.0128, seconds=300.0,
                         records={"in": 10, "rejected": 0, "scored": 10}))  # fmt: skip


def run(run_id: str) -> str:
    return f"run?dag_id=open_one&run_id={run_id}"


def task(run_id: str, task_id: str, **more: Any) -> str:
    query = "".join(f"&{key}={value}" for key, value in more.items())
    return f"task?dag_id=open_one&run_id={run_id}&task_id={task_id}{query}"


@pytest.mark.parametrize("address", [run("model"), task("model", "await_transform")])
def test_what_failed_why_and_what_to_do_come_before_everything_else(read: Pages, address: str) -> None:
    text = read(address)
    parts = [
        "await_transform failed", MODEL_RAISED, "What to do: Fix the code of the model, then clear transform .",
        "Traceback (most recent call last): KeyError: 'age'", "Log of the task", "churn-transform-1",
        "/aws/sagemaker/TransformJobs", "The whole message",
    ]  # fmt: skip
    places = [text.find(part) for part in parts]
    assert -1 not in places, parts[places.index(-1)]
    assert places == sorted(places)
    assert text.count("failed " + MODEL_RAISED) == 1
    assert "clean_up failed The" not in text


def test_the_log_of_the_task_is_one_click_away(browser: Browser) -> None:
    text = browser("viewer").get(run("model")).text
    assert (
        '<a href="../dags/open_one/runs/model/tasks/await_transform" data-outside>Log of the task</a>' in text
    )
    mapped = browser("viewer").get(run("mapped")).text
    assert 'href="../dags/open_one/runs/mapped/tasks/join/mapped/2"' in mapped


def test_sentences_on_sizes_are_folded_after_a_failure(browser: Browser) -> None:
    text = browser("viewer").get(run("model")).text
    folded = re.search(r"<details[^>]*><summary>Why these sizes</summary>(.*?)</details>", text, re.DOTALL)
    assert folded
    assert "Transform uses" in folded[1]
    assert text.index(html.escape(MODEL_RAISED, quote=False).replace("'", "&#39;")) < folded.start()


def test_a_failed_run_shows_what_its_jobs_were_billed(read: Pages) -> None:
    text = read(run("model"))
    assert "3 min 20 s billed unknown idle $0.0128 cost" in text
    assert re.search(r"Time 12 min 06 s 15 min 58 s 1 h 00 min Cost \$0\.\d{4} \$0\.\d{4} \$0\.0128", text)


@pytest.mark.parametrize(
    ("listed", "more", "changes"),
    [
        ([50.0, 120.0], 30.0, {}),
        ([200.0], 0.0, {}),
        ([50.0, None], 0.0, {}),
        ([], 0.0, {}),
        ([50.0], 0.0, {"is_final": True}),
        ([50.0], 0.0, {"is_complete": False}),
        ([50.0], 0.0, {"outcome": None}),
    ],
)
def test_what_was_billed_for_jobs_that_no_stage_has_is_known(
    listed: list[float | None], more: float, changes: dict[str, Any]
) -> None:
    """Only where each job of a stage is described."""
    known: dict[str, Any] = {
        "plan": None,
        "outcome": RunOutcome(kind="failed", headline="It failed.", billed_seconds=200.0),
        "report": {"stages": [{"billed_seconds": seconds} for seconds in listed]},
    }
    assert Figures(**{**known, **changes}).unlisted_seconds == more


def test_that_clean_up_failed_with_the_run_is_said_beside_it(read: Pages) -> None:
    assert "clean_up failed as the run has" in read(run("model"))
    assert "as the run has" not in read(run("both"))


def test_the_message_of_a_plan_that_failed_is_shown(read: Pages) -> None:
    text = read(run("no_plan"))
    assert "plan failed s3://data/trunsactions/ holds no object." in text
    assert "before it had a plan" not in text


def test_a_message_of_one_paragraph_is_shown_whole_and_once() -> None:
    """A headline is cut for lists; several problems are a list of their own."""
    sentence = "The header has no column 'shell_weight'"
    whole = f"{sentence}; the pipeline names {', '.join(f'column_{number}' for number in range(30))}."
    for message, headline, shown in (
        (whole, shorten(whole, MAX_HEADLINE), (whole, None)),
        (sentence, sentence, (sentence, None)),
        (f"{sentence}\nA second.", sentence, (sentence, f"{sentence}\nA second.")),
        (f"{sentence}. " * 40, f"{sentence} …", (f"{sentence} …", f"{sentence}. " * 40)),
        ("bad thing", "E: bad thing", ("E: bad thing", None)),
        (whole, shorten(f"E: {whole}", MAX_HEADLINE), (f"E: {whole}", None)),
        (
            "a: found 1\nb: found 2",
            "2 problems. The first: a: found 1",
            ("2 problems. The first: a: found 1", ...),
        ),
    ):
        found = Failure.model_validate(failure("plan", headline, message=message, error="E"))
        instance = FailedInstance(
            task_id="plan", map_index=-1, state="failed", try_number=1, try_count=1, ended_at=None,
            next_try_at=None, failure=found,
        )  # fmt: skip
        reason = build_reason(instance, None, ())
        assert (reason.headline, reason.message) == (shown[0], message if shown[1] is ... else shown[1])


def test_a_failed_clean_up_does_not_hide_what_failed_before_it(read: Pages) -> None:
    text = read(run("both"))
    assert text.index(MODEL_RAISED) < text.index("1 more task instance failed")
    assert text.index("1 more task instance failed") < text.index("AWS denied StopTransformJob.")


def test_a_task_that_was_killed_is_said_to_have_left_no_message(read: Pages) -> None:
    """What `clean_up` knows of it is said; without it, that there is a log."""
    assert "transform failed transform ended without an error. What to do: Look at the end" in read(
        run("killed")
    )


def test_a_run_that_was_marked_as_failed_is_said_to_be(read: Pages) -> None:
    assert "Failed. The run failed, but none of its tasks did: somebody marked it as failed" in read(
        run("marked")
    )


def test_a_published_run_that_was_marked_as_failed_did_not_fail_for_what_it_published(read: Pages) -> None:
    text = read(run("published_and_marked"))
    assert "Failed. The run failed, but none of its tasks did: somebody marked it as failed" in text
    assert "Failed. Published" not in text


def test_a_run_of_which_airflow_has_no_plan_did_not_end_before_it_unless_it_failed(read: Pages) -> None:
    assert "Airflow no longer has the plan of this run" in read(run("forgotten"))
    assert "This run ended before it had a plan." in read(run("too_early"))


def test_the_tries_of_all_waiting_instances_are_read_at_once(browser: Browser, database: Database) -> None:
    """However many there are, and the DAG is loaded once."""
    from airflow import settings

    queries: list[str] = []

    def count(*given: Any) -> None:
        queries.append(given[2])

    def ask(run_id: str) -> int:
        browser("viewer").get(run(run_id))
        queries.clear()
        assert browser("viewer").get(run(run_id)).text.count("The next try starts at") == len(waiting[run_id])
        return len(queries)

    waiting = {"one_waits": range(1), "many_wait": range(8)}
    for run_id, indexes in waiting.items():
        database.add_runs("open_one", [run_id], state="running")
        for index in indexes:
            database.add_tasks("open_one", run_id, {"join": "up_for_retry"}, map_index=index)
            database.end_task("open_one", run_id, "join", START + timedelta(minutes=index), map_index=index)
    event.listen(settings.engine, "before_cursor_execute", count)
    try:
        assert ask("many_wait") == ask("one_waits")
    finally:
        event.remove(settings.engine, "before_cursor_execute", count)


def test_of_mapped_instances_the_first_that_failed_is_shown_and_the_others_are_folded(read: Pages) -> None:
    text = read(run("mapped"))
    assert "join[2] failed Shard 2 is broken." in text
    assert text.index("1 more task instance failed") < text.index("Shard 1 is broken.")


@pytest.mark.parametrize(
    ("index", "shown"), [("1", [1]), ("2", [2]), ("%7BMAP_INDEX%7D", [2, 1]), ("-1", [2, 1])]
)
def test_the_tab_of_a_mapped_instance_shows_its_own_reason(read: Pages, index: str, shown: list[int]) -> None:
    """Airflow's UI leaves its placeholder in the address of a task that is not mapped."""
    text = read(task("mapped", "join", map_index=index))
    assert [int(each) for each in re.findall(r"Shard (\d) is broken", text)] == shown


def test_a_task_that_did_not_start_names_the_one_that_failed(read: Pages) -> None:
    text = read(task("model", "join"))
    assert f"await_transform failed , so this task has not started: {MODEL_RAISED}" in text
    assert "Log of await_transform" in text


def test_the_tab_of_clean_up_names_the_task_that_failed(read: Pages) -> None:
    text = read(task("both", "clean_up"))
    assert "clean_up failed AWS denied StopTransformJob." in text
    text = read(task("no_plan", "clean_up"))
    assert "s3://data/trunsactions/ holds no object." in text or "clean_up failed It left no message" in text


def test_a_task_that_waits_says_why_its_last_try_failed_and_when_the_next_comes(
    browser: Browser, read: Pages
) -> None:
    for address in (run("waits"), task("waits", "preprocess")):
        text = read(address)
        assert "preprocess failed in try 1 of 3 AWS has no capacity. The next try starts at 2026-01-" in text
        moments = re.findall(
            r'next try starts at <time datetime="([^"]+)"', browser("viewer").get(address).text
        )
        assert moments
        assert moments[0] > (START + timedelta(minutes=5)).isoformat()
    assert "waits for its next try" in read(run("waits"))


def test_a_held_run_says_so_and_is_not_called_broken(browser: Browser, read: Pages) -> None:
    assert "checks holds the run The gate rows holds the run." in read(run("held"))
    assert '<section class="notice notice-warn">' in browser("viewer").get(run("held")).text


@pytest.mark.parametrize(
    ("run_id", "said"),
    [
        (
            "plan_only",
            "Plan only. Only planned, as asked: no job was started. To score the input, start a run",
        ),
        ("plan_only", "Estimated time 12 min 06 s, at most 15 min 58 s Estimated cost $0.0"),
        ("empty", "Empty input. The input holds no records. If there should be some,"),
        (
            "unchanged",
            "Unchanged. Input, model and pipeline are those of night-1. Its output is still there.",
        ),
        ("few", "Warning. 10 rows; the last runs had 4,100."),
    ],
)
def test_what_is_particular_about_a_run_is_said_at_the_top(read: Pages, run_id: str, said: str) -> None:
    text = read(run(run_id))
    assert said in text
    assert text.index(said) < text.index("sizes" if run_id in ("empty", "unchanged") else "Why this size")


def test_nothing_in_a_failure_becomes_markup(browser: Browser) -> None:
    text = browser("viewer").get(run("hostile")).text
    assert HOSTILE not in text
    assert html.escape(HOSTILE) in text.replace("&#34;", "&quot;").replace("&#39;", "&#x27;")


def test_a_page_does_not_wait_for_an_aws_that_does_not_answer(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It shows what Airflow's database has, the reason first of all, and says that it reads the rest."""
    answered = threading.Event()

    def wait(place: Any, *_: Any) -> dict[str, Any]:
        if place is not None:
            answered.wait(30)
        return {}

    monkeypatch.setattr("batch_runs.figures.describe_jobs", wait)
    monkeypatch.setattr("batch_runs.app.FIRST_PATIENCE_SECONDS", 0.05)
    began = time.monotonic()
    try:
        text = browser("viewer").get(run("model")).text
    finally:
        answered.set()
    assert time.monotonic() - began < 10
    assert "data-loading" in text
    assert "Reading the figures from S3 and SageMaker" in text
    assert "The model raised KeyError" in text
    monkeypatch.undo()
    assert "data-loading" not in browser("viewer").get(f"{run('model')}&body_only=true").text
