"""The janitor of the fault suite, for Airflow: one that does not wait for jobs to be five minutes old."""

from batch_inference import build_janitor_dag

dag = build_janitor_dag("../include/pipelines", grace_seconds=0)
