"""Rows of the lists: each pipeline with its last run, and each run with its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from batch_runs.airflow_state import PipelineDag, Run, results, runs
from batch_runs.sparkline import sparkline
from include.orchestration.names import REPORT
from include.scoring.pictures.trends import rejected_share
from include.scoring.summary import summary_in

#: Runs that a sparkline and the plots of a pipeline show.
LAST_RUNS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """A run and its summary, None where it has no report."""

    run: Run
    figures: Mapping[str, Any] | None

    @property
    def rejected_share(self) -> float | None:
        """Rejected of all records that came in."""
        return None if self.figures is None else rejected_share(self.figures)


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineRow:
    """A pipeline, its last run, and its last runs' records as a line."""

    dag: PipelineDag
    last: RunRow | None
    line: str
    counted: int


def rows_of(session: Session, found: Sequence[Run]) -> list[RunRow]:
    """The runs with their summaries."""
    told = results(session, found, REPORT)
    return [RunRow(run=run, figures=summary_in(told.get(run.run_id))) for run in found]


def pipeline_row(session: Session, dag: PipelineDag) -> PipelineRow:
    """One line of the list of pipelines."""
    rows = rows_of(session, runs(session, dag.dag_id, most=LAST_RUNS))
    counts = [row.figures["records"]["in"] for row in reversed(rows) if row.figures is not None]
    return PipelineRow(dag=dag, last=rows[0] if rows else None, line=sparkline(counts), counted=len(counts))


def for_trends(rows: Sequence[RunRow]) -> list[Mapping[str, Any]]:
    """Summaries of the runs that have one, oldest first, each at its own moment and with the duration that lists show:
    Airflow's, from start to end, where the summary's leaves out what comes before and after the jobs."""
    return [
        {**row.figures, "moment": row.run.moment.isoformat(), "seconds": row.run.seconds}
        for row in reversed(rows)
        if row.figures is not None
    ]
