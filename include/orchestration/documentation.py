"""The purpose of each task, which Airflow's UI and the Batch inference page show."""

from __future__ import annotations

from airflow.sdk import DAG
from airflow.sdk.definitions.mappedoperator import MappedOperator

from include.orchestration import names

TASK_DOCS = {
    names.PLAN: (
        "Lists the input, chooses the size of each cluster and says why. Starts no job: what it refuses, it refuses "
        "before anything is spent."
    ),
    names.AWAIT_APPROVAL: (
        "Asks a person, under *Required actions*, when the plan is above the pipeline's budget; otherwise succeeds at "
        "once. When it is rejected, or not answered in time, the run fails, and nothing was spent."
    ),
    names.PREPROCESS: (
        "Submits the SageMaker processing job that checks every record and cuts the good ones "
        "into equal shards. A retry finds the running job instead of paying for a second one."
    ),
    names.AWAIT_PREPROCESS: (
        "Waits for the processing job without holding a worker. Fails with AWS's reason and the "
        "last lines of the job's log."
    ),
    names.COLLECT_SHARDS: (
        "Reads the manifests of the processing job, counts its shards and records, and fails when too many "
        "records were rejected. Groups the shards for `join`."
    ),
    names.CUT_INPUT: (
        "Cuts large objects of the input at line ends by copies inside S3 and merges tiny ones, or leaves the input "
        "unsplit, as planned. Groups the objects that the transform reads for `join`."
    ),
    names.WRITE_MANIFESTS: (
        "Writes the list of objects of each transform job, so that all jobs read about the same number of bytes."
    ),
    names.TRANSFORM_CANARY: (
        "Transforms one shard alone, on one instance, when no run of this model was measured yet; otherwise skipped."
    ),
    names.AWAIT_CANARY: ("Waits for the job of the canary shard without holding a worker."),
    names.CALIBRATE: (
        "Sizes the transform of the other shards from the canary's measured rate, on the canary's instance type, "
        "within the deadline and the budget."
    ),
    names.TRANSFORM: (
        "Submits the SageMaker batch transform job, on no more instances than there are shards."
    ),
    names.AWAIT_TRANSFORM: (
        "Waits for the transform job without holding a worker. Fails with AWS's reason and the "
        "last lines of each container's log."
    ),
    names.JOIN: (
        "Joins each record with its prediction, shard by shard, and fails when a shard has not "
        "as many predictions as records."
    ),
    names.CHOOSE_JOIN: (
        "Chooses by the bytes of the records whether Airflow's workers join them (`join`) or a SageMaker processing "
        "job does (`join_job`); the other branch is skipped."
    ),
    names.JOIN_JOB: "Submits the processing job that joins, with a share of the records on each instance.",
    names.AWAIT_JOIN_JOB: "Waits for the processing job that joins without holding a worker.",
    names.COLLECT_PARTS: "Collects the joined parts, of the mapped tasks or of the processing job.",
    names.CHECKS: (
        "Checks that records in = rejected + scored, then evaluates the pipeline's gates. "
        "A gate with `then: hold` ends the run here: nothing is published, everything is kept, and a run "
        "with `publish_run` publishes it anyway."
    ),
    names.PUBLISH: (
        "Copies the rows to the output, reads them back, and commits them with one conditional write of "
        "`_manifest.json`. If that fails, nothing is published."
    ),
    names.REPORT: (
        "Writes `report.json` and `report.html`: records in and out, predictions, gates, and cost. "
        "The tab *Batch inference* of the run shows the same."
    ),
    names.CLEAN_UP: ("Stops the run's jobs and deletes its models, however the run ended."),
}


def set_task_docs(dag: DAG) -> None:
    """Set each task's `doc_md`, which Airflow's UI shows."""
    for task in dag.tasks:
        text = TASK_DOCS.get(task.task_id)
        if isinstance(task, MappedOperator):
            task.partial_kwargs["doc_md"] = text
        else:
            task.doc_md = text
