"""What a person does and sees in Airflow's UI, with the mouse and the keyboard of a real browser."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import FrameLocator, Locator, expect

from tests.browser.conftest import DAG, OUTPUT
from tests.browser.window import FRAME, Window
from tests.end_to_end.deployment import Deployment

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(1200)]

Windows = Callable[..., Window]
END = 600_000


def text_of(frame: FrameLocator | Any) -> str:
    """What a person reads, on one line."""
    return " ".join(frame.locator("body").inner_text().split())


@pytest.fixture(scope="module")
def run_id(deployment: Deployment, open_window: Windows) -> str:
    """A run that a person started with the form and followed to its end; what they saw is asserted on the way."""
    window = open_window(user="admin")
    page = window.page
    page.goto(f"{window.url}/dags/{DAG}")
    page.get_by_role("button", name="Trigger").first.click()
    form = page.get_by_role("dialog").filter(has_text="Trigger Dag")
    headings = form.get_by_role("button", expanded=False)
    expect(headings.filter(has_text="Size and cost")).to_be_visible()
    shown = [text for text in headings.all_inner_texts() if text]
    assert shown[:5] == ["Input", "Size and cost", "Model", "Output", "Held runs"]
    form.get_by_role("button", name="Size and cost", exact=True).click()
    count = form.locator("input[name=element_transform_instance_count]")
    expect(form.locator("[name=element_transform_instance_type]")).to_have_value("ml.m5.xlarge")
    count.fill("2")
    count.blur()
    page.wait_for_timeout(500)  # the section unfolds
    window.save_screenshot("form")
    form.get_by_role("button", name="Trigger", exact=True).click()
    expect(form).to_be_hidden()

    runs: list[dict[str, Any]] = []
    while not runs:
        runs = deployment.airflow.api.call("GET", f"/dags/{DAG}/dagRuns")["dag_runs"]
    run_id = str(runs[0]["dag_run_id"])
    frame = window.open_tab(DAG, run_id)
    expect(frame.get_by_text("this page refreshes while the run is active")).to_be_visible()
    # Once opened, the tab is only looked at: it follows the run by itself.
    expect(frame.locator("figure[data-chart=timeline]")).to_be_visible(timeout=END)
    window.save_screenshot("run-going-on")
    expect(frame.locator("[data-live=no]")).to_be_attached(timeout=END)
    window.wait_for_plots(frame)
    window.save_screenshot("run-ended")
    return run_id


def test_a_person_fills_the_form_and_follows_the_run_to_its_numbers(
    deployment: Deployment, run_id: str, window: Windows
) -> None:
    """What the run's tab shows is what the manifest of the published data says."""
    manifest = json.loads(deployment.objects(OUTPUT)["_manifest.json"])
    assert manifest["run_id"] == run_id
    frame = window(user="admin").open_tab(DAG, run_id)
    expect(frame.locator(".figures")).to_be_visible()
    expect(frame.locator("[data-loading]")).to_have_count(0)
    read = text_of(frame)
    records = manifest["records"]
    for figure in (
        f"{records['in']:,} records in",
        f"{records['scored']:,} scored",
        f"{records['rejected']:,} rejected",
    ):
        assert figure in read
    for reason, number in records["rejected_by_reason"].items():
        assert f"{reason} {number:,}" in read
    assert f"{manifest['rows']:,} rows in {len(manifest['files'])} file" in read
    assert "because the trigger form said 2" in read
    for title in (
        "Predictions: predicted_rings",
        "Rejected by sex",
        "Mean predicted_rings by sex",
        "Timeline",
        "Cost",
    ):
        expect(frame.get_by_role("heading", name=title)).to_be_visible()
    bars = frame.locator("figure[data-chart=funnel] rect")
    drawn = [int(str(bar.get_attribute("data-value"))) for bar in bars.all()]
    assert drawn[0] == records["in"]
    assert drawn[-2:] == [records["scored"], manifest["rows"]]


def test_the_task_instance_has_a_tab_that_says_what_came_of_it(run_id: str, window: Windows) -> None:
    frame = window(user="admin").open_tab(DAG, run_id, "transform")
    expect(frame.get_by_text("on 2 instances of type ml.m5.xlarge")).to_be_visible()


def test_the_navigation_leads_to_the_pipelines_and_on_to_the_run(run_id: str, window: Windows) -> None:
    one = window(user="admin")
    one.page.goto(one.url)
    one.page.get_by_role("button", name="Browse").click()
    one.page.get_by_role("menuitem", name="Batch inference").click()
    frame = one.page.frame_locator("iframe")
    expect(frame.get_by_role("link", name=DAG)).to_be_visible()
    one.save_screenshot("pipelines")
    frame.get_by_role("link", name=DAG).click()
    expect(frame.get_by_role("heading", name=DAG)).to_be_visible()
    frame.locator("tbody a").first.click()
    expect(frame.get_by_text(run_id)).to_be_visible()
    # Out of the frame again, which the frame itself may not do.
    frame.get_by_role("link", name="await_transform").click()
    one.page.wait_for_url(
        lambda address: f"/dags/{DAG}/runs/" in address and "/tasks/await_transform" in address
    )


def test_the_tab_of_the_dag_lists_its_runs(run_id: str, window: Windows) -> None:
    """One click on the run leads to its tab, out of the frame."""
    one = window(user="admin")
    one.page.goto(f"{one.url}/dags/{DAG}")
    one.page.get_by_role("link", name="Batch inference", exact=True).click()
    frame = one.page.frame_locator(FRAME)
    expect(frame.get_by_role("heading", name="Runs", exact=True)).to_be_visible()
    expect(frame.locator("tbody a").first).to_be_visible()
    one.save_screenshot("dag-tab")
    frame.locator("tbody a").first.click()
    expect(frame.get_by_text("records in").first).to_be_visible()


def test_who_may_not_read_the_dag_sees_neither_the_page_nor_its_data(run_id: str, window: Windows) -> None:
    viewer = window(user="viewer")
    viewer.open("")
    assert DAG not in viewer.page.content()
    assert "no pipeline that you may see" in text_of(viewer.page)
    for page, more in (("run", {"run_id": run_id}), ("runs", {}), ("file", {"run_id": run_id, "name": "report.html"}),
                       ("task", {"run_id": run_id, "task_id": "plan"})):  # fmt: skip
        assert viewer.open(page, dag_id=DAG, **more) == 403
        assert "No access" in text_of(viewer.page)
        assert "records" not in viewer.page.content()
    nobody = window()
    assert nobody.open("run", dag_id=DAG, run_id=run_id) == 401
    assert "Please log in" in text_of(nobody.page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_can_be_read_by_everybody(run_id: str, window: Windows, scheme: str) -> None:
    """axe-core finds nothing serious, in either colouring."""
    one = window(user="admin", scheme=scheme)
    for name, page, query in (
        ("pipelines-alone", "", {}),
        ("runs", "runs", {"dag_id": DAG}),
        ("run", "run", {"dag_id": DAG, "run_id": run_id}),
        ("task", "task", {"dag_id": DAG, "run_id": run_id, "task_id": "plan"}),
        ("refused", "run", {"dag_id": DAG, "run_id": "there is none"}),
    ):
        one.open(page, **query)
        if name == "run":
            one.wait_for_plots()
        one.save_screenshot(name, whole=True)
        assert one.violations() == [], name


def test_the_page_takes_the_colours_that_the_person_chose_in_airflow(run_id: str, window: Windows) -> None:
    """And changes them with Airflow's, while it is open."""
    one = window(user="admin")
    frame = one.open_tab(DAG, run_id)
    one.wait_for_plots(frame)

    def ground() -> str:
        return str(frame.locator("body").evaluate("body => getComputedStyle(body).backgroundColor"))

    def ink() -> str:
        return str(frame.locator("figure .chart text").first.evaluate("text => getComputedStyle(text).fill"))

    one.save_screenshot("run-tab")
    light = ground(), ink()
    # What another tab of Airflow's UI causes when a person chooses there.
    one.page.evaluate(
        "localStorage.setItem('theme', 'dark');"
        "dispatchEvent(new StorageEvent('storage', {key: 'theme', newValue: 'dark', storageArea: localStorage}))"
    )
    expect(frame.locator("html")).to_have_attribute("data-theme", "dark")
    assert ground() != light[0]
    assert ink() != light[1]
    one.page.reload()
    one.wait_for_plots(frame)
    one.save_screenshot("run-tab-dark")
    one.page.evaluate("localStorage.removeItem('theme')")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_is_one_file_that_shows_the_same(
    deployment: Deployment, run_id: str, window: Windows, scheme: str, tmp_path: Any
) -> None:
    """Downloaded from the page and opened from disk: it draws its plots, asks nobody, and axe-core agrees with it."""
    one = window(user="admin", scheme=scheme)
    one.open("run", dag_id=DAG, run_id=run_id)
    expect(one.page.locator("[data-loading]")).to_have_count(0)
    numbers = one.page.locator(".figures").inner_text()
    plots = one.page.locator("figure h2").all_inner_texts()
    with one.page.expect_download() as download:
        one.page.get_by_role("link", name="report.html").click()
    file = tmp_path / "report.html"
    download.value.save_as(file)
    one.page.goto(file.as_uri())
    one.wait_for_plots()
    one.save_screenshot("report", whole=True)
    assert one.page.locator(".figures").inner_text() == numbers
    assert one.page.locator("figure h2").all_inner_texts() == plots
    assert one.violations() == []


def open_form(window: Window) -> Locator:
    """The trigger form of the DAG, with the section of sizes and costs unfolded."""
    window.page.goto(f"{window.url}/dags/{DAG}")
    window.page.get_by_role("button", name="Trigger").first.click()
    form = window.page.get_by_role("dialog").filter(has_text="Trigger Dag")
    form.get_by_role("button", name="Size and cost", exact=True).click()
    expect(form.locator("[name=element_deadline]")).to_be_visible()
    window.page.wait_for_timeout(500)  # the section unfolds
    return form


def submit(deployment: Deployment, window: Window, form: Locator) -> str:
    """Send the form, which Airflow accepts; the id of its run."""
    path = f"/dags/{DAG}/dagRuns"
    before = {run["dag_run_id"] for run in deployment.airflow.api.call("GET", path)["dag_runs"]}
    form.get_by_role("button", name="Trigger", exact=True).click()
    expect(form).to_be_hidden()
    expect(window.page.get_by_text("Bad Request")).to_have_count(0)
    while True:
        now = [run["dag_run_id"] for run in deployment.airflow.api.call("GET", path)["dag_runs"]]
        if new := [each for each in now if each not in before]:
            return str(new[0])
        time.sleep(0.5)


def test_what_is_wrong_in_the_form_is_said_by_plan(deployment: Deployment, window: Windows) -> None:
    """All of it at once, first in the run's tab; Airflow itself would say only Bad Request."""
    one = window(user="admin")
    form = open_form(one)
    form.locator("[name=element_deadline]").fill("tomorrow")
    form.locator("[name=element_transform_instance_type]").fill("m5.huge")
    form.locator("input[name=element_transform_instance_count]").fill("0")
    form.locator("input[name=element_transform_instance_count]").blur()
    one.save_screenshot("form-wrong")
    run_id = submit(deployment, one, form)
    assert deployment.wait(DAG, run_id) == "failed"
    frame = one.open_tab(DAG, run_id)
    expect(frame.get_by_text("found 'tomorrow'").first).to_be_visible(timeout=END)
    read = text_of(frame)
    for said in (
        "deadline: found 'tomorrow'",
        "transform_instance_type: found 'm5.huge'",
        "transform_instance_count: found 0",
    ):
        assert said in read
    one.save_screenshot("form-refused")


def test_plan_only_shows_what_the_instance_types_take_and_cost(
    deployment: Deployment, window: Windows
) -> None:
    one = window(user="admin")
    form = open_form(one)
    form.locator("[name=element_deadline]").fill("90")
    form.locator("label:has([name=element_dry_run])").first.click()
    one.save_screenshot("form-plan-only")
    run_id = submit(deployment, one, form)
    assert deployment.wait(DAG, run_id) == "success"
    frame = one.open_tab(DAG, run_id)
    table = frame.get_by_role("region", name="Instance types to choose from")
    expect(table).to_be_visible(timeout=END)
    assert "ml.m5.xlarge chosen" in " ".join(table.inner_text().split())
    one.save_screenshot("plan-only")
    one.open("run", dag_id=DAG, run_id=run_id)  # alone: Airflow's own part of the page is not ours to judge
    expect(one.page.get_by_role("region", name="Instance types to choose from")).to_be_visible()
    assert one.violations() == []
