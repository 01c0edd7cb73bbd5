"""Changes a run in Airflow's database to one that started earlier: `start_run_earlier.py DAG_ID RUN_ID SECONDS`."""

from __future__ import annotations

import sys
from datetime import timedelta

from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
from sqlalchemy import select


def main(dag_id: str, run_id: str, seconds: str) -> None:
    """Airflow's API has no such call."""
    with create_session() as session:
        run = session.scalars(select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)).one()
        assert run.start_date is not None
        run.start_date -= timedelta(seconds=float(seconds))


if __name__ == "__main__":
    main(*sys.argv[1:])
