"""The lists say first what needs a look, count no run for what it is not, and show errors of files to whom they may."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event

import batch_runs
from batch_inference.reporting.page import PAGE_FOLDER
from batch_inference.run.failures import Failure
from batch_inference.run.outcomes import RunOutcome
from tests.integration.batch_runs.database import Database
from tests.unit.builders import plan

Pages = Callable[[str], str]
Browser = Callable[[str | None], TestClient]
DONE = {"plan": "success", "clean_up": "success"}
ERROR = (
    "RefusedFileError: pipelines/open_wrong.yaml: line 7, max_instances: found 400; allowed is at most 100"
)


@pytest.fixture(autouse=True)
def emptied(database: Database) -> Iterator[None]:
    yield
    database.clear()


def add_run(database: Database, dag_id: str, run_id: str, kind: str, **figures: Any) -> None:
    """A run that has ended in this way."""
    state = "failed" if kind in ("failed", "held") else "success"
    database.add_runs(dag_id, [run_id], state=state)
    database.add_tasks(dag_id, run_id, DONE)
    outcome = RunOutcome(kind=kind, **{"headline": f"{kind} it is.", **figures})  # type: ignore[arg-type]
    database.push_xcom(dag_id, run_id, "clean_up", outcome.to_xcom(), key="outcome")


def published(**changes: Any) -> dict[str, Any]:
    return {"records": {"in": 1000, "rejected": 10, "scored": 990}, "dollars": 0.5, **changes}


def test_what_failed_comes_first_with_its_reason_then_what_is_late(read: Pages, database: Database) -> None:
    for dag_id in ("open_a", "open_b", "open_c"):
        database.add_dag(dag_id)
    add_run(database, "open_a", "night", "published", **published())
    add_run(
        database,
        "open_b",
        "night",
        "published",
        **published(deadline=datetime(2026, 1, 1, 2, 30, tzinfo=UTC)),
    )
    add_run(database, "open_c", "night", "failed", headline="The column `age` is missing.", dollars=0.25)
    text = read("./")
    assert text.index("open_c") < text.index("open_b") < text.index("open_a", text.index("Next run"))
    assert "1 failed 1 late 1 well" in text
    assert "The column age is missing." in text
    assert "Ended 30 min 00 s after its deadline, 2026-01-01 02:30 UTC." in text
    assert "$0.25" in text, "what the failed run was billed"


def test_a_run_that_goes_on_comes_before_those_that_wait_for_it(read: Pages, database: Database) -> None:
    """The run that waits leads to it, and has no stage of its own."""
    database.add_dag("open_a")
    add_run(database, "open_a", "first", "published", **published())
    for run_id, state in (("second", "running"), ("third", "queued")):
        database.add_runs("open_a", [run_id], state=state)
        database.add_tasks("open_a", run_id, {"plan": None, "clean_up": None})
    text = read("./")
    assert "1 running 1 queued" in text
    assert re.search(r"running since [-0-9: ]+ UTC , 1 more run queued", text)
    text = read("run?dag_id=open_a&run_id=third")
    assert "This run waits for second to end" in text.replace("<code>", "")
    assert "The run that it waits for" in text
    assert "Stage" not in text


def test_of_runs_that_wait_the_next_one_is_named(read: Pages, database: Database, browser: Browser) -> None:
    """Where none goes on, as between two runs."""
    database.add_dag("open_a")
    database.add_runs("open_a", ["first", "second", "third"], state="queued")
    assert re.search(r"queued since [-0-9: ]+ UTC , 2 more runs queued", read("./"))
    assert re.search(r'run_id=first">queued since', browser("viewer").get("./").text)


@pytest.mark.parametrize("kind", ["plan_only", "empty", "unchanged"])
def test_a_run_that_was_to_have_no_output_is_marked_and_is_not_the_last_run(
    read: Pages, database: Database, kind: str
) -> None:
    database.add_dag("open_a")
    add_run(database, "open_a", "first", "published", **published())
    add_run(database, "open_a", "second", "published", **published())
    add_run(database, "open_a", "quiet", kind)
    words = {"plan_only": "plan only", "empty": "empty input", "unchanged": "unchanged"}[kind]
    text = read("./")
    assert f"2026-01-02 02:00:00 UTC then 1 {words} 1 h 00 min 1,000 1% $0.50" in text
    # That there was nothing to score may be a mistake in a prefix, or in what should have been uploaded.
    assert ("1 empty input" if kind == "empty" else "1 well") in text
    assert ("empty it is." in text) is (kind == "empty")
    assert ("empty it is." in read("runs?dag_id=open_a").partition("Last 3 runs")[0]) is (kind == "empty")
    text = read("runs?dag_id=open_a")
    assert f"2026-01-03 02:00:00 UTC {words} schedule" in text
    assert "Last 2 published runs" in text or "Last 2 runs" in text, "the plots"


def test_a_share_of_rejects_above_the_bound_is_a_warning_even_where_the_run_published(
    read: Pages, browser: Browser, database: Database
) -> None:
    database.add_dag("open_a")
    add_run(
        database, "open_a", "night", "published",
        **published(records={"in": 20_000, "rejected": 19_000, "scored": 1_000}),
    )  # fmt: skip
    assert "95% of 20,000 records were rejected." in read("./")
    assert "1 warning" in read("./")
    assert '<span class="warn">95%</span>' in browser("viewer").get("runs?dag_id=open_a").text


def test_a_run_of_which_clean_up_said_nothing_is_explained_by_its_tasks(
    read: Pages, database: Database
) -> None:
    database.add_dag("open_a")
    database.add_runs("open_a", ["night"], state="failed")
    database.add_tasks("open_a", "night", {"plan": "success", "transform": "failed", "clean_up": "failed"})
    for address in ("./", "runs?dag_id=open_a"):
        assert "No task has left a reason" in read(address)
    failure = Failure(
        task_id="transform", try_number=1, at=1.0, error="E", headline="No quota.", message="No quota."
    )
    database.push_xcom("open_a", "night", "transform", failure.to_xcom(), key="failure")
    for address in ("./", "runs?dag_id=open_a"):
        assert "transform: No quota." in read(address)


def test_a_run_that_published_and_failed_then_says_what_failed(read: Pages, database: Database) -> None:
    """Its outcome says what it published, which is no reason."""
    database.add_dag("open_a")
    add_run(database, "open_a", "night", "published", **published(headline="Published 990 rows."))
    database.change_run("open_a", "night", state="failed")
    for address in ("./", "runs?dag_id=open_a"):
        assert "No task has left a reason: somebody marked the run as failed" in read(address)
    database.set_state("open_a", "night", "clean_up", "failed")
    failure = Failure(
        task_id="clean_up",
        try_number=1,
        at=1.0,
        error="E",
        headline="AWS denied it.",
        message="AWS denied it.",
        advice="Allow it.",
    )
    database.push_xcom("open_a", "night", "clean_up", failure.to_xcom(), key="failure")
    for address in ("./", "runs?dag_id=open_a"):
        assert "clean_up: AWS denied it." in read(address)
    assert "Allow it." in read("runs?dag_id=open_a")


def test_a_share_of_rejects_at_the_bound_is_a_warning_as_on_the_page_of_the_run(
    browser: Browser, database: Database
) -> None:
    database.add_dag("open_a")
    records = {"in": 20_000, "rejected": 1_000, "scored": 19_000}
    add_run(database, "open_a", "night", "published", **published(records=records))
    assert '<span class="warn">5%</span>' in browser("viewer").get("runs?dag_id=open_a").text


def test_no_style_of_a_page_changes_what_another_sheet_says_of_the_same_elements() -> None:
    """Every page has all sheets: those of the lists begin with a class of theirs."""
    folder = Path(batch_runs.__file__).parent / "static"
    sheets = [folder / "lists.css", folder / "page.css", PAGE_FOLDER / "style.css"]
    own, *others = [
        {
            selector.strip()
            for selectors in re.findall(
                r"([^{}]+)\{", re.sub(r"/\*.*?\*/", "", sheet.read_text(), flags=re.S)
            )
            for selector in selectors.split(",")
        }
        for sheet in sheets
    ]
    assert own & set().union(*others) == set()
    assert [selector for selector in own if re.fullmatch(r"[a-z]+[^.#\[:]*", selector)] == []


def test_an_active_run_after_its_deadline_is_late_and_one_that_is_tried_again_says_why(
    read: Pages, database: Database
) -> None:
    database.add_dag("open_a")
    database.add_runs("open_a", ["night"], state="running")
    database.add_tasks("open_a", "night", {"plan": "success", "transform": "up_for_retry"})
    passed = (datetime.now(UTC) - timedelta(hours=2, minutes=5)).isoformat()
    database.push_xcom("open_a", "night", "plan", {**plan([1_000]).to_xcom(), "deadline": passed})
    failure = Failure(
        task_id="transform",
        try_number=1,
        at=1.0,
        error="E",
        headline="Lost.",
        message="Lost.",
        will_retry=True,
    )
    database.push_xcom("open_a", "night", "transform", failure.to_xcom(), key="failure")
    text = read("./")
    assert "1 late 1 running" in text
    assert "Goes on 2 h 05 min after its deadline" in text
    assert "transform is tried again: Lost." in text


def test_runs_of_people_and_of_the_schedule_are_told_apart(read: Pages, database: Database) -> None:
    database.add_dag("open_a")
    add_run(
        database, "open_a", "first", "published", **published(expected_dollars=0.4, expected_seconds=3000.0)
    )
    add_run(database, "open_a", "second", "published", **published())
    database.change_run("open_a", "second", run_type="manual", triggering_user_name="ana")
    text = read("runs?dag_id=open_a")
    assert "published ana, by hand" in text
    assert "published schedule 1 h 00 min / 50 min 00 s 1,000 1% $0.50 / $0.40" in text


def test_runs_can_be_filtered_by_state_and_by_day(read: Pages, browser: Browser, database: Database) -> None:
    database.add_dag("open_a")
    for night in range(60):
        add_run(
            database, "open_a", f"night-{night:02d}", "failed" if night % 2 else "published", **published()
        )
    text = browser("viewer").get("runs?dag_id=open_a&state=failed&until=2026-01-10").text
    rows = r'<th scope="row"><a href="[^"]*run_id=(night-\d+)'
    assert re.findall(rows, text) == ["night-09", "night-07", "night-05", "night-03", "night-01"]
    assert "5 runs of this choice" in text
    assert 'value="2026-01-10"' in text
    for wrong in ("until=yesterday", "until=2026-02-30", "state=<b>"):
        answer = browser("viewer").get(f"runs?dag_id=open_a&{wrong}")
        assert answer.status_code == 422
        assert "<b>" not in answer.text


def test_the_number_of_queries_does_not_grow_with_pipelines_and_runs(
    browser: Browser, database: Database
) -> None:
    from airflow import settings

    queries: list[str] = []

    def count(*given: Any) -> None:
        queries.append(given[2])

    def ask() -> int:
        client = browser("admin")
        client.get("./")
        queries.clear()
        assert client.get("./").status_code == 200
        return len(queries)

    def add(number: int) -> None:
        dag_id = f"open_{number}"
        database.add_dag(dag_id)
        for night in range(3):
            add_run(database, dag_id, f"night-{night}", "published", **published())
        database.add_runs(dag_id, ["failed"], state="failed")
        database.add_runs(dag_id, ["active"], state="running")

    event.listen(settings.engine, "before_cursor_execute", count)
    try:
        add(0)
        alone = ask()
        for number in range(1, 6):
            add(number)
        assert ask() == alone
    finally:
        event.remove(settings.engine, "before_cursor_execute", count)


def test_a_pipeline_whose_file_is_wrong_stays_with_its_runs_and_the_error(
    read: Pages, database: Database
) -> None:
    database.add_dag("open_wrong", is_stale=True)
    add_run(database, "open_wrong", "night", "published", **published())
    assert "open_wrong" not in read("./"), "a pipeline that was removed"
    database.add_import_error("pipelines/open_wrong.yaml#open_wrong", f"Traceback:\n  frame\n{ERROR}")
    text = read("./")
    assert "1 file wrong" in text
    assert "line 7, max_instances: found 400; allowed is at most 100" in text
    assert "RefusedFileError" not in text
    assert "1,000 1% $0.50" in text
    text = read("runs?dag_id=open_wrong")
    assert "The file of this pipeline is wrong" in text
    assert "found 400" in text


def test_a_dag_that_has_just_lost_its_file_is_said_to_have(read: Pages, database: Database) -> None:
    """Airflow drops the error of a wrong file for some seconds at each refresh of the bundle."""
    database.add_dag("open_gone", is_stale=True, last_parsed_time=datetime.now(UTC) - timedelta(minutes=1))
    assert "1 gone" in read("./")
    assert "Airflow has no file of this DAG any more" in read("./")


def test_the_error_of_a_file_is_shown_to_those_who_may_read_its_dag(
    browser: Browser, database: Database
) -> None:
    database.add_dag("closed_wrong", is_stale=True)
    database.add_import_error("pipelines/closed_wrong.yaml#closed_wrong", ERROR)
    database.add_import_error("pipelines/new.yaml#new", ERROR.replace("open_wrong", "new"))
    viewer, admin = browser("viewer").get("./").text, browser("admin").get("./").text
    assert "closed_wrong" not in viewer
    assert "closed_wrong" in admin
    # A viewer of Airflow's simple auth manager may read import errors: one without a DAG has no other right to check.
    assert "pipelines/new.yaml" in viewer
    assert "pipelines/new.yaml" in admin
    assert "found 400" not in browser("").get("./").text


def test_the_error_of_a_dag_file_is_shown_to_those_who_may_read_all_of_its_dags(
    browser: Browser, database: Database
) -> None:
    for dag_id in ("open_a", "open_b"):
        database.add_dag(dag_id, relative_fileloc="dags/all.py", is_stale=True)
    database.add_import_error("dags/all.py", "Traceback\nNameError: name 'secret' is not defined")
    assert "name &#39;secret&#39; is not defined" in browser("viewer").get("./").text
    database.add_dag("closed_c", tag="other", relative_fileloc="dags/all.py")
    text = browser("viewer").get("./").text
    assert "secret" not in text
    assert "Airflow cannot parse dags/all.py." in text
    assert "closed_c" not in text


def test_nothing_in_a_reason_or_an_error_becomes_markup(browser: Browser, database: Database) -> None:
    database.add_dag("open_a")
    database.add_import_error("pipelines/open_a.yaml#open_a", "E: <img src=x onerror=alert(1)>")
    add_run(database, "open_a", "night", "failed", headline="<script>alert(1)</script>", advice="<b>x</b>")
    for address in ("./", "runs?dag_id=open_a"):
        text = browser("viewer").get(address).text
        assert "<img" not in text
        assert "<script>alert" not in text
        assert "<b>x" not in text
