"""# janitor: notifies of late runs, stops leftover jobs

Every five minutes it calls `notify.on_late` of the pipelines whose runs are late or will be, once for each run. And it
stops SageMaker jobs and deletes models that a run of a pipeline created and that no active run needs. It is the last
resort for what neither the end of a task nor the run's `clean_up` reaches: a run that timed out or was deleted, a lost
database. Once an hour, and when triggered manually, it also deletes the files of runs below their pipeline's `work`
prefix, `keep_runs_days` after the last file was written there; published output is kept, and so is the last run with a
report. Unpause it where the pipelines run on AWS; Airflow creates it paused.
"""

from batch_inference import build_janitor_dag

dag = build_janitor_dag("../include/pipelines", doc_md=__doc__)
