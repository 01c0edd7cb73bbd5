"""What the pages show of runs, and that nothing in a run's data does anything to who looks at it."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest
from fastapi.testclient import TestClient

from batch_inference.aws.s3 import Storage
from batch_inference.reporting.charts import build_charts
from batch_inference.reporting.report import render_html
from batch_inference.reporting.summary import build_summary
from tests.integration.batch_runs.database import Database
from tests.unit.builders import plan
from tests.unit.reporting.test_charts import everything
from tests.unit.reporting.test_report import HOSTILE

Browser = Callable[[str | None], TestClient]
MANY = 1_000
#: Where the runs of `open_one` keep their files.
RUNS = "s3://bucket/work/open_one/"
NIGHTS = [f"night-{number:04d}" for number in range(MANY)]
#: What a hostile file name, header, cell or reject reason may hold.
NASTY = f"../../{HOSTILE}\r\nX-Header: 1\x00\x1b[31m"
FORMULA = '=HYPERLINK("http://evil.example","click")'


@pytest.fixture(scope="module", autouse=True)
def runs(database: Database, storage: Storage) -> None:
    """A pipeline with a thousand runs, and single runs in every state."""
    figures = everything()
    for dag_id in ("open_many", "open_one"):
        database.add_dag(dag_id)
    database.add_runs("open_many", NIGHTS)
    database.add_instances("open_many", NIGHTS, {"plan": "success", "clean_up": "success"})
    told = {night: build_summary({**figures, "data_time": night}) for night in NIGHTS}
    database.push_xcoms("open_many", "clean_up", told)

    def finished(run_id: str, report: dict[str, Any]) -> None:
        uri = f"{RUNS}{run_id}/report."
        database.add_tasks("open_one", run_id, {"plan": "success", "clean_up": "success"})
        database.push_xcom(
            "open_one",
            run_id,
            "clean_up",
            {**build_summary(report), "report_json": f"{uri}json", "report_html": f"{uri}html"},
        )
        storage.write_json(f"{uri}json", report)
        storage.write(f"{uri}html", render_html(report))

    database.add_runs(
        "open_one", ["finished", "nasty", "gone", "wrong", "large", "refused", "only", "elsewhere"]
    )
    database.add_runs("open_one", ["planned"], state="running")
    database.add_runs("open_one", ["next"], state="queued")
    database.add_runs("open_one", ["broken"], state="failed")
    finished("finished", figures)
    nasty = everything(
        predictions={NASTY: {"kind": "text", "count": 1, "nulls": 0, "values": {NASTY: 1}, "others": 0}},
        previous=None,
        first_rows=[{NASTY: NASTY, "formula": FORMULA}],
        sentences=[NASTY],
    )
    nasty["records"] = {**nasty["records"], "rejected_by_reason": {NASTY: 8}}
    nasty["output"] = {**nasty["output"], "uri": f"s3://bucket/{NASTY}"}
    finished("nasty", nasty)
    finished("gone", figures)
    storage.delete([f"{RUNS}gone/report.json", f"{RUNS}gone/report.html"])
    finished("wrong", figures)
    storage.write(f"{RUNS}wrong/report.json", '["not a report"]')
    finished("large", figures)
    storage.write(f"{RUNS}large/report.json", " " * 2_000_001)
    storage.write_json("s3://bucket/others/secret.json", figures)
    database.add_tasks("open_one", "elsewhere", {"clean_up": "success"})
    stolen = dict.fromkeys(("report_json", "report_html"), "s3://bucket/others/secret.json")
    database.push_xcom("open_one", "elsewhere", "clean_up", {**build_summary(figures), **stolen})
    planned = plan([20_000_000] * 2)
    database.add_tasks("open_one", "planned", {"plan": "success", "preprocess": "running"})
    database.push_xcom("open_one", "planned", "plan", planned.to_xcom())
    database.add_tasks(
        "open_one",
        "refused",
        {"plan": "success", "preprocess": "success", "await_preprocess": "failed", "clean_up": "failed"},
    )
    database.push_xcom("open_one", "refused", "plan", planned.to_xcom())
    database.add_tasks("open_one", "only", {"plan": "success", "preprocess": "skipped"})
    database.push_xcom("open_one", "only", "plan", plan([20_000_000] * 2, dry_run=True).to_xcom())
    database.add_tasks("open_one", "broken", {"plan": "failed"})


@pytest.fixture
def page(browser: Browser) -> Callable[[str], str]:
    """The text of a page that is shown."""

    def shown(address: str) -> str:
        answer = browser("viewer").get(address)
        assert answer.status_code == 200, answer.text
        return answer.text

    return shown


def run(run_id: str) -> str:
    return f"run?dag_id=open_one&run_id={run_id}"


class Markup(HTMLParser):
    """Elements, attributes and text as a browser would see them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes.extend(attrs)

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_list_shows_the_last_run_and_a_bar_for_each_of_the_last_thirty(
    page: Callable[[str], str],
) -> None:
    text = page("./")
    bars = re.search(r'<svg class="bars".*?aria-label="Last runs of open_many.*?</svg>', text, re.DOTALL)
    assert bars
    assert re.findall(r"run_id=(night-\d+)", bars[0]) == NIGHTS[-30:]
    shown = re.sub(r"\s+", " ", " ".join(Markup(text).text))
    assert "1 h 00 min 68 11.8% $0.0192" in shown


@pytest.mark.parametrize("address", ["./", "runs?dag_id=open_many", "runs?dag_id=open_many&page=20"])
def test_a_pipeline_with_a_thousand_runs_is_shown_within_a_second(
    page: Callable[[str], str], address: str
) -> None:
    page(address)  # the first look imports the pages themselves
    # The time of the processors, which is that on the wall of a machine that does nothing else.
    began = time.process_time()
    page(address)
    assert time.process_time() - began < 1.0


def test_a_page_of_a_pipeline_reads_no_object(
    page: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that lists show is in Airflow's database."""

    def refuse(*_: Any) -> None:
        raise AssertionError("an S3 client was made for a list")

    monkeypatch.setattr(Storage, "__init__", refuse)
    for address in ("./", "runs?dag_id=open_many"):
        page(address)


def test_runs_are_listed_newest_first_in_pages(page: Callable[[str], str]) -> None:
    first, last = page("runs?dag_id=open_many"), page("runs?dag_id=open_many&page=20")
    rows = r'<th scope="row"><a href="[^"]*run_id=(night-\d+)'
    assert re.findall(rows, first) == NIGHTS[:-51:-1]
    assert re.findall(rows, last) == NIGHTS[49::-1]
    assert "page=2" in first
    assert "page 20 of 20" in re.sub(r"\s+", " ", last)
    assert "There are no runs on this page" in page("runs?dag_id=open_many&page=21")


def test_the_duration_of_a_run_is_the_same_in_the_list_and_in_the_plot(page: Callable[[str], str]) -> None:
    """From start to end, where its jobs took seven minutes of the hour."""
    text = page("runs?dag_id=open_many")
    drawn = re.findall(r'data-value="([^"]+)"[^>]*><title>[^<]*\nDuration: ([^<]*)<', text)
    assert len(drawn) == 30
    assert set(drawn) == {("3600", "1 h 00 min")}
    listed = re.findall(r"\b\d+ (?:h \d+ min|min \d+ s)", " ".join(Markup(text).text))
    assert set(listed) == {"1 h 00 min"}


def test_a_finished_run_shows_what_its_report_shows(page: Callable[[str], str]) -> None:
    text, report = page(run("finished")), render_html(everything())
    for name in ("funnel", "timeline", "predictions-0", "groups-0-rejected", "cost"):
        assert f'data-chart="{name}"' in text
    charts = re.findall(r'<svg class="chart".*?</svg>', text, re.DOTALL)
    assert len(charts) == len(build_charts(everything()))
    assert charts == re.findall(r'<svg class="chart".*?</svg>', report, re.DOTALL)
    assert 'data-live="no"' in text
    assert "report.html" in text


@pytest.mark.parametrize("run_id", ["finished", "refused", "planned"])
def test_a_run_is_shown_within_a_second(page: Callable[[str], str], run_id: str) -> None:
    page(run(run_id))  # the first look builds the S3 client and reads the report
    durations = []
    for _ in range(5):
        began = time.process_time()
        page(run(run_id))
        durations.append(time.process_time() - began)
    assert min(durations) < 1.0


def test_the_teardown_that_fails_with_every_failed_run_is_not_named_as_a_reason(
    page: Callable[[str], str],
) -> None:
    text = page(run("refused"))
    assert "<h2>await_preprocess failed</h2>" in text
    assert "<h2>clean_up failed</h2>" not in text


def test_a_run_that_only_has_a_plan_shows_its_sentences(page: Callable[[str], str]) -> None:
    text = page(run("planned"))
    for sentence in plan([20_000_000] * 2).sentences:
        assert sentence.replace("'", "&#39;") in text
    assert "Nothing is published yet" in text
    assert 'data-live="yes"' in text


@pytest.mark.parametrize(
    ("run_id", "said"),
    [
        ("refused", "await_preprocess failed It left no message"),
        ("refused", "Nothing was published at s3://data/out/"),
        ("only", "Plan only. Nothing was submitted to AWS."),
        ("next", "Queued. This run waits for planned to end"),
        ("broken", "plan failed It left no message"),
    ],
)
def test_a_run_that_published_nothing_says_why_not(
    page: Callable[[str], str], run_id: str, said: str
) -> None:
    assert said in re.sub(r"\s+", " ", "".join(Markup(page(run(run_id))).text))


def test_the_part_that_follows_a_run_is_the_page_without_its_frame(page: Callable[[str], str]) -> None:
    whole, part = page(run("finished")), page(f"{run('finished')}&body_only=true")
    assert "<html" not in part
    assert part.strip() in whole
    assert 'data-chart="funnel"' in part


@pytest.mark.parametrize(
    ("run_id", "said"),
    [
        ("gone", "There is no report at s3://bucket/work/open_one/gone/report.json any more"),
        ("wrong", "not a report of version 1"),
        ("large", "2,000,001 bytes"),
        ("elsewhere", "are below s3://bucket/work/open_one/"),
    ],
)
def test_a_report_that_cannot_be_read_is_said_to_be(
    page: Callable[[str], str], run_id: str, said: str
) -> None:
    assert said in page(run(run_id))


def test_a_report_that_was_written_anew_is_read_anew(page: Callable[[str], str], storage: Storage) -> None:
    """After `report` was cleared, say; and one that was not is read once."""
    uri = f"{RUNS}finished/report.json"
    before = storage.read(uri)
    page(run("finished"))
    storage.write_json(uri, {**everything(), "sentences": ["Written anew."]})
    try:
        assert "Written anew." in page(run("finished"))
    finally:
        storage.write(uri, before)
    assert "Written anew." not in page(run("finished"))


def test_an_unknown_run_is_not_found(browser: Browser) -> None:
    answer = browser("viewer").get(run("<script>alert(1)</script>"))
    assert answer.status_code == 404
    assert "<script>alert" not in answer.text


def test_nothing_in_a_run_becomes_markup(page: Callable[[str], str]) -> None:
    plain, nasty = Markup(page(run("finished"))), Markup(page(run("nasty")))
    assert set(nasty.elements) <= set(plain.elements)
    assert not [name for name, _ in nasty.attributes if name.startswith("on") or name == "style"]
    assert not [
        value
        for name, value in nasty.attributes
        if name in ("href", "src") and value and "javascript:" in value
    ]
    assert HOSTILE in "".join(nasty.text)
    # The cell is shown as it is; there is no export that a spreadsheet would open.
    assert FORMULA in "".join(nasty.text)


def test_addresses_lead_only_to_airflow_and_to_aws(page: Callable[[str], str]) -> None:
    for address in ("./", "runs?dag_id=open_many", run("finished"), run("nasty")):
        targets = [value or "" for name, value in Markup(page(address)).attributes if name in ("href", "src")]
        assert targets
        assert not [target for target in targets if re.match(r"[a-z]+:|//", target)], targets


@pytest.mark.parametrize(
    "address", ["./", "runs?dag_id=open_many", run("nasty"), run("nothing"), "run?dag_id=closed"]
)
def test_every_answer_forbids_what_is_not_ours(browser: Browser, address: str) -> None:
    first = browser("viewer").get(address)
    policy = first.headers["Content-Security-Policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self'; " in policy
    assert "frame-ancestors 'self'" in policy
    assert "unsafe" not in policy
    assert first.headers["X-Content-Type-Options"] == "nosniff"
    assert first.headers["Cache-Control"] == "no-store"


def test_the_report_is_handed_out_to_be_kept_and_never_shown(browser: Browser) -> None:
    """A file from a bucket must not run in Airflow's name, whoever wrote it."""
    answer = browser("viewer").get("file?name=report.html&dag_id=open_one&run_id=finished")
    assert answer.text == render_html(everything())
    assert answer.headers["Content-Disposition"].startswith("attachment;")
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    for run_id in ("gone", "planned", "elsewhere"):
        assert (
            browser("viewer").get(f"file?name=report.html&dag_id=open_one&run_id={run_id}").status_code == 404
        )


def test_the_style_comes_from_here_under_a_name_of_its_content(
    browser: Browser, page: Callable[[str], str]
) -> None:
    address = re.search(r'href="(shared/style.css\?v=[^"]+)"', page("./"))
    assert address
    answer = browser("viewer").get(html.unescape(address[1]))
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "private, max-age=86400"
    assert len(answer.content) > 500


@pytest.mark.parametrize("name", ["../app.py", "..%2f..%2fapp.py", "report.html.j2", "sections.html.j2"])
def test_nothing_else_is_handed_out(browser: Browser, name: str) -> None:
    assert browser("viewer").get(f"shared/{name}").status_code == 404
    assert browser("viewer").get(f"static/{name}").status_code == 404


def test_a_task_says_what_it_is_for_and_what_came_of_it(page: Callable[[str], str]) -> None:
    text = page("task?dag_id=open_one&run_id=finished&task_id=transform")
    assert "no more instances than there are shards" in text
    assert "ran 50 s on 2 instances of type ml.m5.xlarge" in text
