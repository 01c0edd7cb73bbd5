"""Serves the Batch inference pages: pipelines, runs, one run, one task. Read-only: every route is a GET."""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from airflow.api_fastapi.common.db.common import SessionDep
from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles
from markupsafe import Markup, escape
from starlette.exceptions import HTTPException as AnyHTTPException

from batch_inference.dag.task_docs import TASK_DOCS
from batch_inference.reporting.charts import build_charts
from batch_inference.reporting.charts.spending import build_spending_chart
from batch_inference.reporting.charts.trends import build_trends_chart
from batch_inference.reporting.cost_overview import (
    NO_TEAM,
    build_overview,
    list_months,
    render_csv,
    shift_month,
)
from batch_inference.reporting.page import PAGE_FOLDER as SHARED
from batch_inference.reporting.page import build_environment, compute_style_digest
from batch_runs import links
from batch_runs.access import ReadableDag, User, filter_readable_dags, may_read_import_errors
from batch_runs.airflow_state import (
    PipelineDag,
    Run,
    count_runs,
    find_running_run_id,
    get_run,
    is_pipeline_dag,
    list_file_errors,
    list_pipeline_dags,
    list_runs,
    list_tasks,
)
from batch_runs.costs import LoadedCosts, load_costs
from batch_runs.figures import MAX_PATIENCE_SECONDS, load_figures, open_run_file
from batch_runs.jobs import NO_ANSWER_ERRORS, READ_ERRORS
from batch_runs.overview import (
    LAST_RUN_COUNT,
    build_pipeline_row,
    build_trend_rows,
    count_states,
    describe_file_errors,
    describe_trigger,
    list_files_without_dag,
    load_pipeline_rows,
    load_run_rows,
)
from batch_runs.progress import build_progress, compare_with_estimate
from batch_runs.reasons import build_queued_notice, find_cause, list_notices, list_reasons
from batch_runs.run_files import MEDIA_TYPES
from batch_runs.task_failures import list_failed_instances
from batch_runs.task_view import describe_outcome
from sagemaker_jobs.airflow_compat import has_feature

PACKAGE_FOLDER = Path(__file__).parent
RUNS_PER_PAGE = 50
#: How long a page waits for S3 and SageMaker before it is shown without what they know.
FIRST_PATIENCE_SECONDS = 0.6
#: The same for the page of a task, which does not ask again.
TASK_PATIENCE_SECONDS = 3.0
#: Pipelines of which the page of costs says what was lost, those that lost most.
WASTEFUL_PIPELINES = 10
#: The address of the style sheet has its digest.
CACHE_FOR_A_DAY = "private, max-age=86400"
#: For downloads: if the browser opens one anyway, nothing in it runs on Airflow's origin.
SANDBOX_POLICY = "default-src 'none'; sandbox"

# No documentation pages: they load scripts from other sites.
app = FastAPI(title="Batch inference", docs_url=None, redoc_url=None, openapi_url=None)
app.mount("/static", StaticFiles(directory=PACKAGE_FOLDER / "static"))
templates = build_environment(PACKAGE_FOLDER / "templates")
templates.globals.update(
    links=links,
    has_login_cookie=has_feature("login by cookie"),
    style=compute_style_digest(),
    parse_time=datetime.fromisoformat,
    trigger_of=describe_trigger,
)


def format_code_spans(text: str) -> Markup:
    """The text, escaped, with what stands between backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped


templates.filters["code_spans"] = format_code_spans

RunId = Annotated[str, Query(min_length=1, max_length=250)]
#: Of the years that have a month before and after each of theirs.
Month = Annotated[str | None, Query(pattern=r"^[1-9]\d{3}-(0[1-9]|1[0-2])$")]
Team = Annotated[str | None, Query(max_length=250)]


@app.middleware("http")
async def add_security_headers(
    request: Request, call_next: Callable[[Request], Awaitable[Response]]
) -> Response:
    """No foreign content, no inline scripts or styles, only Airflow's frame."""
    response = await call_next(request)
    response.headers.setdefault(
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'",
    )
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    return response


@app.get("/")
def show_pipelines(request: Request, session: SessionDep, user: User) -> HTMLResponse:
    """Every pipeline that the user may read, those that need a look first; and wrong files that have no DAG yet."""
    file_errors = list_file_errors(session)
    known = list_pipeline_dags(session, file_errors)
    dags = [known[dag_id] for dag_id in filter_readable_dags(session, user, known)]
    messages = _describe_file_errors(session, user, dags)
    rows = load_pipeline_rows(session, dags, messages)
    new_files = list_files_without_dag(file_errors, known) if may_read_import_errors(user) else []
    return _render_page(
        request, "pipelines.html.j2", rows=rows, counts=count_states(rows), new_files=new_files,
        teams=sorted({row.dag.team for row in rows if row.dag.team}), last_runs=LAST_RUN_COUNT,
    )  # fmt: skip


@app.get("/costs")
def show_costs(
    request: Request, session: SessionDep, user: User, month: Month = None, team: Team = None
) -> HTMLResponse:
    """What the pipelines that the user may read cost in a month, by default the current one in UTC."""
    month = _require_month(month)
    loaded = _load_costs(session, user, list_months(month), team)
    overview = build_overview(loaded.costs, month, now=datetime.now(UTC))
    chart = build_spending_chart({row.name: row.sums for row in overview.by_day}, month)
    later = shift_month(month, forward=True)
    return _render_page(
        request, "costs.html.j2", overview=overview, charts=[] if chart is None else [chart], team=team,
        problems=loaded.problems, left_out=loaded.left_out, title=f"{datetime.fromisoformat(f'{month}-01'):%B %Y}",
        earlier_month=shift_month(month, forward=False), later_month=None if later > _require_month(None) else later,
        shown_pipelines=WASTEFUL_PIPELINES,
        link_team=lambda name: None if name == NO_TEAM else links.to_costs(month, name),
        link_month=lambda name: links.to_costs(name, team),
    )  # fmt: skip


@app.get("/costs.csv")
def download_costs(session: SessionDep, user: User, month: Month = None, team: Team = None) -> Response:
    """The costs of a month by pipeline and day. An incomplete file is an error: nobody would see that it is.

    Pipelines that are gone for good, with what leads to their costs, are named in the header `X-Left-Out`.
    """
    month = _require_month(month)
    loaded = _load_costs(session, user, [month], team)
    if loaded.problems:
        raise HTTPException(502, " ".join(loaded.problems))
    headers = {"X-Left-Out": quote(", ".join(loaded.left_out), safe=", ")} if loaded.left_out else {}
    headers |= {
        "Content-Security-Policy": SANDBOX_POLICY,
        "Content-Disposition": f'attachment; filename="costs-{month}.csv"',
    }
    return Response(render_csv(loaded.costs, month), media_type="text/csv; charset=utf-8", headers=headers)


@app.get("/runs")
def show_runs(
    request: Request,
    session: SessionDep,
    user: User,
    dag_id: ReadableDag,
    page: Annotated[int, Query(ge=1, le=10_000)] = 1,
    state: Annotated[Literal["", "failed", "success", "running", "queued"], Query()] = "",
    until: Annotated[str, Query(pattern=r"^(\d{4}-\d\d-\d\d)?$")] = "",
) -> HTMLResponse:
    """The runs of a pipeline, newest first: of a state, until a day in UTC; and, on the first page, its last ones."""
    _require_pipeline(session, dag_id)
    before = None if not until else _parse_day(until) + timedelta(days=1)
    chosen: Any = {"state": state or None, "before": before}
    run_count = count_runs(session, dag_id, **chosen)
    runs = list_runs(session, dag_id, limit=RUNS_PER_PAGE, offset=(page - 1) * RUNS_PER_PAGE, **chosen)
    now = datetime.now(UTC)
    rows = load_run_rows(session, runs)
    dag = list_pipeline_dags(session, list_file_errors(session)).get(dag_id)
    is_first = page == 1 and not state and not until
    pipeline = chart = None
    if dag is not None and is_first:
        pipeline = build_pipeline_row(
            dag, rows[:LAST_RUN_COUNT], _describe_file_errors(session, user, [dag]).get(dag_id), now
        )
        published = [row for row in rows if row.kind == "published"]
        chart = build_trends_chart(build_trend_rows(published[:LAST_RUN_COUNT]))
    return _render_page(
        request, "runs.html.j2", dag_id=dag_id, dag=dag, rows=rows, page=page, now=now, pipeline=pipeline,
        pages=max(1, math.ceil(run_count / RUNS_PER_PAGE)), state=state, until=until,
        run_count=run_count, charts=[] if chart is None else [chart], last_runs=LAST_RUN_COUNT,
    )  # fmt: skip


def _describe_file_errors(session: SessionDep, user: User, dags: Sequence[PipelineDag]) -> dict[str, str]:
    return describe_file_errors(session, dags, lambda dag_ids: filter_readable_dags(session, user, dag_ids))


def _parse_day(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError as error:
        raise HTTPException(422, f"until: found {text}, which is not a day such as 2026-11-27.") from error


@app.get("/run")
def show_run(
    request: Request, session: SessionDep, dag_id: ReadableDag, run_id: RunId, body_only: bool = False
) -> HTMLResponse:
    """One run; with `body_only` only the part that changes while the run is active.

    The page does not wait long for S3 and SageMaker: it then says that it loads, and asks for its body.
    """
    found = _require_run(session, dag_id, run_id)
    patience = MAX_PATIENCE_SECONDS if body_only else FIRST_PATIENCE_SECONDS
    figures = load_figures(session, found, patience_seconds=patience)
    failed, tasks = list_failed_instances(session, found), list_tasks(session, found)
    notices = list_notices(found, figures.plan, figures.outcome, failed)
    if found.state == "queued":
        notices.insert(0, build_queued_notice(find_running_run_id(session, dag_id)))
    return _render_page(
        request,
        "run_body.html.j2" if body_only else "run.html.j2",
        run=found,
        tasks=tasks,
        figures=figures,
        notices=notices,
        reasons=list_reasons(failed, figures.outcome, figures.links),
        has_failed=found.state == "failed",
        has_nothing_to_do=figures.outcome is not None and figures.outcome.kind in ("empty", "unchanged"),
        progress=build_progress(
            found, tasks, figures.plan, figures.report, figures.objects, now=datetime.now(UTC)
        ),
        comparison=compare_with_estimate(found, figures.report),
        report=figures.report,
        charts=build_charts(figures.report) if figures.report else [],
        console=links.group_by_stage(figures.links),
    )


@app.get("/task")
def show_task(
    request: Request,
    session: SessionDep,
    dag_id: ReadableDag,
    run_id: RunId,
    task_id: RunId,
    map_index: str = "",
) -> HTMLResponse:
    """One task in a run: why it failed, what came of it, and its purpose.

    `map_index` is the number of a mapped instance; Airflow's UI leaves its placeholder in the address without one.
    """
    found = _require_run(session, dag_id, run_id)
    figures = load_figures(session, found, patience_seconds=TASK_PATIENCE_SECONDS)
    index = int(map_index) if map_index.isdecimal() else None
    failed = list_failed_instances(session, found)
    own = [each for each in failed if each.task_id == task_id and index in (None, each.map_index)]
    state = next((task.state for task in list_tasks(session, found) if task.task_id == task_id), None)
    cause = find_cause(failed, figures.outcome, task_id, state)
    return _render_page(
        request,
        "task.html.j2",
        run=found,
        task_id=task_id,
        about=TASK_DOCS.get(task_id, "").replace("*", ""),  # Airflow shows it as Markdown
        reasons=[] if cause else list_reasons(own, figures.outcome, figures.links),
        cause=cause,
        has_failed=bool(own),
        notices=list_notices(found, figures.plan, figures.outcome, failed) if state == "skipped" else [],
        outcome=describe_outcome(task_id, figures.report) if figures.is_complete else [],
        is_complete=figures.is_complete,
    )


@app.get("/file")
def download_file(session: SessionDep, dag_id: ReadableDag, run_id: RunId, name: str) -> Response:
    """A file of the run as a download, never inline: a file from a bucket must not run on Airflow's origin."""
    if name not in MEDIA_TYPES:
        raise HTTPException(404, f"There is no file {name!r}; allowed are {', '.join(MEDIA_TYPES)}.")
    try:
        download = open_run_file(session, _require_run(session, dag_id, run_id), name)
    except NO_ANSWER_ERRORS as error:
        raise HTTPException(503, f"The {name} of this run is not there yet: {error}. Try again.") from error
    except READ_ERRORS as error:
        raise HTTPException(404, f"The {name} of this run is not handed out: {error}") from error
    if download is None:
        raise HTTPException(404, f"This run has no {name}.")
    headers = {
        "Content-Security-Policy": SANDBOX_POLICY,
        "Content-Disposition": f'attachment; filename="{name}"',
        # A transfer that breaks off is then shorter than announced, and the browser says so.
        "Content-Length": str(download.size),
    }
    return StreamingResponse(download.iter_chunks(), media_type=MEDIA_TYPES[name], headers=headers)


@app.get("/shared/{name}")
def serve_shared_file(name: str) -> FileResponse:
    """The style sheet, which the pages share with report.html."""
    if name != "style.css":
        raise HTTPException(404, "No such file.")
    return FileResponse(SHARED / name, headers={"Cache-Control": CACHE_FOR_A_DAY})


@app.exception_handler(AnyHTTPException)
def render_http_error(request: Request, error: AnyHTTPException) -> HTMLResponse:
    """An HTTP error as a page."""
    return _render_page(request, "refused.html.j2", status=error.status_code, message=str(error.detail))


@app.exception_handler(RequestValidationError)
def render_validation_error(request: Request, error: RequestValidationError) -> HTMLResponse:
    """Invalid query parameters as a page that lists each with its error."""
    problems = "; ".join(f"{each['loc'][-1]}: {each['msg']}" for each in error.errors())
    return _render_page(request, "refused.html.j2", status=422, message=problems)


def _require_month(month: str | None) -> str:
    try:
        return f"{datetime.now(UTC) if month is None else datetime.fromisoformat(f'{month}-01'):%Y-%m}"
    except ValueError:
        raise HTTPException(
            422, f"month: found {month!r}; allowed is a month such as 2026-11, from 0001-02 to 9999-11."
        ) from None


def _load_costs(session: SessionDep, user: User, months: Sequence[str], team: str | None) -> LoadedCosts:
    """The costs of the pipelines that the user may read, stale ones too: they cost money while they ran."""
    known = list_pipeline_dags(session, with_stale=True)
    readable = filter_readable_dags(session, user, known)
    dags = [known[dag_id] for dag_id in readable if team is None or known[dag_id].team == team]
    return load_costs(session, dags, months)


def _require_pipeline(session: SessionDep, dag_id: str) -> None:
    if not is_pipeline_dag(session, dag_id):
        raise HTTPException(404, f"{dag_id!r} is not a batch inference pipeline.")


def _require_run(session: SessionDep, dag_id: str, run_id: str) -> Run:
    _require_pipeline(session, dag_id)
    found = get_run(session, dag_id, run_id)
    if found is None:
        raise HTTPException(404, f"Airflow has no run {run_id!r} of {dag_id!r}.")
    return found


def _render_page(request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    text = templates.get_template(template).render(request=request, status=status, **values)
    return HTMLResponse(text, status_code=status)
