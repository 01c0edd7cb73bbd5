"""# janitor: nothing is left running

Stops SageMaker jobs and deletes models that a run of one of the pipelines made and that no active run needs: the
last resort, for what neither a task's own end nor the run's `clean_up` reaches (a run that timed out, a run that was
deleted, a database that was lost). Once an hour, and when it is triggered by hand, it also deletes what runs keep below
their pipeline's `work` prefix, `keep_runs_days` after the last file was written there; what was published stays, and so
does the last run with a report. Unpause it where the pipelines run on AWS; Airflow starts it paused.
"""

from include.orchestration.janitor import janitor_dag

dag = janitor_dag(doc_md=__doc__)
