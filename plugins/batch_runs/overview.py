"""Builds the rows of the lists: each pipeline with its last run, each run with its summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from batch_inference.reporting.charts.trends import compute_rejected_share
from batch_inference.reporting.summary import parse_summary
from batch_inference.run.task_ids import CLEAN_UP
from batch_runs.airflow_state import PipelineDag, Run, list_runs, read_results

#: Number of runs in a sparkline and in the plots of a pipeline.
LAST_RUN_COUNT = 30
#: Width, height and margin of a sparkline.
WIDTH, HEIGHT, MARGIN = 120, 28, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """A run and its summary; None without a report."""

    run: Run
    summary: Mapping[str, Any] | None

    @property
    def rejected_share(self) -> float | None:
        """The share of the input records that was rejected."""
        return None if self.summary is None else compute_rejected_share(self.summary)


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineRow:
    """A pipeline, its last run, and a sparkline of the records of its last runs."""

    dag: PipelineDag
    last_run: RunRow | None
    sparkline_points: str
    counted_runs: int


def build_run_rows(session: Session, dag_runs: Sequence[Run]) -> list[RunRow]:
    """The runs with their summaries."""
    results = read_results(session, dag_runs, CLEAN_UP)
    return [RunRow(run=run, summary=parse_summary(results.get(run.run_id))) for run in dag_runs]


def build_pipeline_row(session: Session, dag: PipelineDag) -> PipelineRow:
    """One row of the list of pipelines."""
    rows = build_run_rows(session, list_runs(session, dag.dag_id, limit=LAST_RUN_COUNT))
    counts = [row.summary["records"]["in"] for row in reversed(rows) if row.summary is not None]
    return PipelineRow(
        dag=dag,
        last_run=rows[0] if rows else None,
        sparkline_points=build_sparkline(counts),
        counted_runs=len(counts),
    )


def build_trend_rows(rows: Sequence[RunRow]) -> list[Mapping[str, Any]]:
    """Summaries of the runs that have one, oldest first, with the run's own time and duration.

    The duration is Airflow's, from start to end, as in the lists; the summary's covers only the jobs.
    """
    return [
        {**row.summary, "data_time": row.run.run_after.isoformat(), "seconds": row.run.duration_seconds}
        for row in reversed(rows)
        if row.summary is not None
    ]


def build_sparkline(values: Sequence[float]) -> str:
    """Points of an SVG polyline, `x,y x,y …`, in a box of WIDTH times HEIGHT; "" for fewer than two values.

    The y axis begins at zero, so that small differences look small.
    """
    if len(values) < 2:
        return ""
    most = max(values) or 1
    step = (WIDTH - 2 * MARGIN) / (len(values) - 1)
    room = HEIGHT - 2 * MARGIN
    return " ".join(
        f"{MARGIN + number * step:.1f},{HEIGHT - MARGIN - room * value / most:.1f}"
        for number, value in enumerate(values)
    )
