"""The Batch inference pages: pipelines, the runs of one, and one run. They only read: every route is a GET."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

from airflow.api_fastapi.common.db.common import SessionDep
from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException as AnyHTTPException

from batch_runs import links
from batch_runs.access import ReadableDag, User, readable_among
from batch_runs.airflow_state import (
    Run,
    is_pipeline,
    number_of_runs,
    pipeline_dags,
    run_named,
    runs,
    tasks,
)
from batch_runs.figures import figures_of, report_file
from batch_runs.headers import SANDBOX, guarded
from batch_runs.jobs import UNREADABLE
from batch_runs.overview import LAST_RUNS, for_trends, pipeline_row, rows_of
from batch_runs.task_view import about, told_by
from include.scoring.page import FOLDER as SHARED
from include.scoring.page import environment, plotly_js
from include.scoring.pictures import pictures_of
from include.scoring.pictures.trends import trends

HERE = Path(__file__).parent
RUNS_ON_A_PAGE = 50
#: Static files change with the package only, and plotly's address holds its version.
A_DAY = "private, max-age=86400"

# No documentation pages: they would load their scripts from elsewhere.
app = FastAPI(title="Batch inference", docs_url=None, redoc_url=None, openapi_url=None)
app.middleware("http")(guarded)
app.mount("/static", StaticFiles(directory=HERE / "static"))
templates = environment(HERE / "templates")
templates.globals.update(links=links)

RunId = Annotated[str, Query(min_length=1, max_length=250)]


@app.get("/")
def pipelines(request: Request, session: SessionDep, user: User) -> HTMLResponse:
    """Every pipeline that the user may read, with its last run."""
    known = pipeline_dags(session)
    rows = [pipeline_row(session, known[dag_id]) for dag_id in readable_among(request, user, known)]
    return _page(request, "pipelines.html.j2", rows=rows, last_runs=LAST_RUNS)


@app.get("/runs")
def runs_of_pipeline(
    request: Request,
    session: SessionDep,
    dag_id: ReadableDag,
    page: Annotated[int, Query(ge=1, le=10_000)] = 1,
) -> HTMLResponse:
    """The runs of a pipeline, newest first, and the last ones as plots."""
    _require_pipeline(session, dag_id)
    in_all = number_of_runs(session, dag_id)
    rows = rows_of(session, runs(session, dag_id, most=RUNS_ON_A_PAGE, skip=(page - 1) * RUNS_ON_A_PAGE))
    picture = trends(for_trends(rows[:LAST_RUNS])) if page == 1 else None
    return _page(
        request, "runs.html.j2", dag_id=dag_id, rows=rows, page=page, pages=max(1, math.ceil(in_all / RUNS_ON_A_PAGE)),
        in_all=in_all, pictures=[] if picture is None else [picture],
    )  # fmt: skip


@app.get("/run")
def run(
    request: Request, session: SessionDep, dag_id: ReadableDag, run_id: RunId, part: bool = False
) -> HTMLResponse:
    """One run; with `part` what changes while it goes on, without the page around it."""
    found = _require_run(session, dag_id, run_id)
    figures = figures_of(session, found)
    return _page(
        request, "run_body.html.j2" if part else "run.html.j2", run=found, tasks=tasks(session, found),
        figures=figures, report=figures.report, pictures=pictures_of(figures.report) if figures.report else [],
        console=links.to_console(session, found),
    )  # fmt: skip


@app.get("/task")
def task(
    request: Request, session: SessionDep, dag_id: ReadableDag, run_id: RunId, task_id: RunId
) -> HTMLResponse:
    """What one task of a run is for, and what came of it."""
    found = _require_run(session, dag_id, run_id)
    figures = figures_of(session, found)
    return _page(
        request, "task.html.j2", run=found, task_id=task_id, about=about(task_id),
        told=told_by(task_id, figures.report),
    )  # fmt: skip


@app.get("/report")
def report(session: SessionDep, dag_id: ReadableDag, run_id: RunId) -> Response:
    """The run's report.html, to be kept. It is never shown here: a file from a bucket has no say in Airflow's name."""
    try:
        file = report_file(_require_run(session, dag_id, run_id), session)
    except UNREADABLE as error:
        raise HTTPException(404, f"The report of this run cannot be read: {error}") from error
    if file is None:
        raise HTTPException(404, "This run has no report.")
    return Response(
        file[0],
        media_type="text/html; charset=utf-8",
        headers={
            "Content-Security-Policy": SANDBOX,
            "Content-Disposition": 'attachment; filename="report.html"',
        },
    )


@app.get("/shared/{name}")
def shared(name: str) -> FileResponse:
    """What the pages and report.html have in common, and plotly.js out of its wheel."""
    files = {name: SHARED / name for name in ("style.css", "draw.js")}
    files["plotly.min.js"] = plotly_js.path()
    if name not in files:
        raise HTTPException(404, "There is no such file.")
    return FileResponse(files[name], headers={"Cache-Control": A_DAY})


@app.exception_handler(AnyHTTPException)
def refused(request: Request, error: AnyHTTPException) -> HTMLResponse:
    """An error as a page that says it in words."""
    return _page(request, "refused.html.j2", status=error.status_code, message=str(error.detail))


@app.exception_handler(RequestValidationError)
def misunderstood(request: Request, error: RequestValidationError) -> HTMLResponse:
    """An address that is not one of ours, with the part of it that is wrong."""
    said = "; ".join(f"{each['loc'][-1]}: {each['msg']}" for each in error.errors())
    return _page(request, "refused.html.j2", status=422, message=said)


def _require_pipeline(session: SessionDep, dag_id: str) -> None:
    if not is_pipeline(session, dag_id):
        raise HTTPException(404, f"There is no batch inference pipeline {dag_id!r}.")


def _require_run(session: SessionDep, dag_id: str, run_id: str) -> Run:
    _require_pipeline(session, dag_id)
    found = run_named(session, dag_id, run_id)
    if found is None:
        raise HTTPException(404, f"Airflow knows no run {run_id!r} of {dag_id!r}.")
    return found


def _page(request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    text = templates.get_template(template).render(
        nonce=request.state.nonce,
        plotly=plotly_js.release(),
        style_ids=plotly_js.style_ids(),
        status=status,
        **values,
    )
    return HTMLResponse(text, status_code=status)
