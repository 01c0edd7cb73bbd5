"""Who is not logged in sees nothing; who may not read a DAG sees neither its pages nor that it is there."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from tests.integration.batch_runs.database import Database

Browser = Callable[[str | None], TestClient]
PAGES = (
    "./",
    "runs?dag_id=open_one",
    "run?dag_id=open_one&run_id=night",
    "task?dag_id=open_one&run_id=night&task_id=plan",
    "file?name=report.html&dag_id=open_one&run_id=night",
)
OF_CLOSED = [page.replace("open_one", "closed_one") for page in PAGES[1:]]


@pytest.fixture(scope="module", autouse=True)
def pipelines(database: Database) -> None:
    """Pipelines that a viewer may read, may not read, and may read in part; and a DAG of somebody else."""
    for dag_id in ("open_one", "closed_one", "open_but_secret"):
        database.add_dag(dag_id)
        database.add_runs(dag_id, ["night"])
    database.add_dag("open_other", tag="something else")
    database.add_runs("open_other", ["night"])


@pytest.mark.parametrize("page", PAGES)
def test_without_a_login_no_page_is_shown(browser: Browser, page: str) -> None:
    answer = browser(None).get(page)
    assert answer.status_code == 401
    assert "Please log in" in answer.text
    assert "open_one" not in answer.text


@pytest.mark.parametrize("has_login_cookie", [False, True])
def test_the_page_before_a_login_takes_it_from_the_ui_of_airflow_3_0(
    browser: Browser, monkeypatch: pytest.MonkeyPatch, has_login_cookie: bool
) -> None:
    """Later versions have it in a cookie, and load no such script."""
    from batch_runs.app import templates

    monkeypatch.setitem(templates.globals, "has_login_cookie", has_login_cookie)
    answer = browser(None).get("./")
    assert ("static/login.js" in answer.text) is not has_login_cookie
    assert 'localStorage.getItem("token")' in browser(None).get("static/login.js").text


def test_a_forged_login_is_none(browser: Browser) -> None:
    client = browser(None)
    client.cookies.set("_token", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiIsInJvbGUiOiJhZG1pbiJ9.")
    assert client.get("./").status_code == 403


def test_the_list_holds_the_pipelines_that_the_user_may_read_and_no_other(browser: Browser) -> None:
    seen = browser("viewer").get("./").text
    assert "open_one" in seen
    for hidden in ("closed_one", "open_but_secret", "open_other"):
        assert hidden not in seen
    everything = browser("admin").get("./").text
    assert all(dag_id in everything for dag_id in ("open_one", "closed_one", "open_but_secret"))
    assert "open_other" not in everything


def test_a_user_without_any_right_sees_an_empty_list(browser: Browser) -> None:
    answer = browser("").get("./")
    assert "no pipeline that you may see" in answer.text
    assert "open_one" not in answer.text


@pytest.mark.parametrize("page", OF_CLOSED)
def test_a_dag_that_the_user_may_not_read_is_refused(browser: Browser, page: str) -> None:
    answer = browser("viewer").get(page)
    assert answer.status_code == 403
    assert "closed_one" not in answer.text
    assert browser("admin").get(page).status_code in (200, 404)


def test_reading_a_dag_without_what_its_tasks_handed_on_is_not_enough(browser: Browser) -> None:
    assert browser("viewer").get("run?dag_id=open_but_secret&run_id=night").status_code == 403


@pytest.mark.parametrize(
    "trick",
    [
        "run?dag_id=open_one&dag_id=closed_one&run_id=night",
        "run?dag_id=closed_one&dag_id=open_one&run_id=night",
        "run?dag_id=~&run_id=night",
        "run?dag_id=&run_id=night",
        "run?run_id=night",
    ],
)
def test_the_dag_that_is_checked_is_the_dag_that_is_shown(browser: Browser, trick: str) -> None:
    answer = browser("viewer").get(trick)
    assert answer.status_code != 200 or "<h1>open_one</h1>" in answer.text
    assert "closed_one" not in answer.text


@pytest.mark.parametrize("page", ["runs?dag_id=open_other", "run?dag_id=open_other&run_id=night"])
def test_dags_of_others_have_no_page_here(browser: Browser, page: str) -> None:
    assert browser("admin").get(page).status_code == 404


def test_nothing_here_can_change_anything() -> None:
    """So that no other site can make a user's browser do something: all that is answered is GET."""
    from batch_runs.app import app

    methods = {method for route in app.routes for method in getattr(route, "methods", None) or {"GET"}}
    assert methods <= {"GET", "HEAD"}
    assert len(app.routes) > 5


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_other_methods_are_refused(browser: Browser, method: str) -> None:
    for page in PAGES:
        assert browser("admin").request(method, page).status_code == 405
