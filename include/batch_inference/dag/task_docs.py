"""The purpose of each task, which Airflow's UI and the Batch inference page show."""

from __future__ import annotations

from urllib.parse import urlencode

from airflow.sdk import DAG
from airflow.sdk.definitions.mappedoperator import MappedOperator

from batch_inference.run import task_ids
from sagemaker_jobs.airflow_compat import has_feature

TASK_DOCS = {
    task_ids.PLAN: (
        "Lists the input, chooses the size of each cluster and says why. Starts no job: what it refuses, it refuses "
        "before anything is spent."
    ),
    task_ids.AWAIT_APPROVAL: (
        "Asks a person, under *Required actions*, when the plan is above the pipeline's budget; otherwise succeeds at "
        "once. When it is rejected, or not answered in time, the run fails, and nothing was spent."
    ),
    task_ids.PREPROCESS: (
        "Submits the SageMaker processing job that checks every record and cuts the good ones "
        "into equal shards. A retry finds the running job instead of paying for a second one."
    ),
    task_ids.AWAIT_PREPROCESS: (
        "Waits for the processing job without holding a worker. Fails with AWS's reason and the "
        "last lines of the job's log. Then reads the job's manifests, counts its shards and records, fails when too "
        "many records were rejected, and groups the shards for `join`."
    ),
    task_ids.CUT_INPUT: (
        "Cuts large objects of the input at line ends by copies inside S3 and merges tiny ones, or leaves the input "
        "unsplit, as planned. Groups the objects that the transform reads for `join`."
    ),
    task_ids.WRITE_MANIFESTS: (
        "Writes the list of objects of each transform job, so that all jobs read about the same number of bytes."
    ),
    task_ids.TRANSFORM_CANARY: (
        "Transforms one shard alone, on one instance, when no run of this model was measured yet; otherwise skipped."
    ),
    task_ids.AWAIT_CANARY: ("Waits for the job of the canary shard without holding a worker."),
    task_ids.CALIBRATE: (
        "Sizes the transform of the other shards from the canary's measured rate, on the canary's instance type, "
        "within the deadline and the budget."
    ),
    task_ids.SELECT_TRIALS: (
        "Sets apart the shards on which this run tries other instance types, requests at a time, or sizes of requests."
    ),
    task_ids.TRANSFORM_TRIAL: (
        "Submits a transform job that tries other settings on some shards, while the others are transformed as usual."
    ),
    task_ids.AWAIT_TRIAL: (
        "Waits for the trial without holding a worker. When it fails, is stopped or takes too long, a job with the "
        "usual settings scores its shards."
    ),
    task_ids.TRANSFORM: (
        "Submits the SageMaker batch transform job, on no more instances than there are shards."
    ),
    task_ids.AWAIT_TRANSFORM: (
        "Waits for the transform job without holding a worker. Fails with AWS's reason and the "
        "last lines of each container's log."
    ),
    task_ids.JOIN: (
        "Joins each record with its prediction, shard by shard, and fails when a shard has not "
        "as many predictions as records."
    ),
    task_ids.CHOOSE_JOIN: (
        "Chooses by the bytes of the records whether Airflow's workers join them (`join`) or a SageMaker processing "
        "job does (`join_job`); the other branch is skipped."
    ),
    task_ids.JOIN_JOB: "Submits the processing job that joins, with a share of the records on each instance.",
    task_ids.AWAIT_JOIN_JOB: "Waits for the processing job that joins without holding a worker.",
    task_ids.COLLECT_PARTS: "Collects the joined parts, of the mapped tasks or of the processing job.",
    task_ids.CHECKS: (
        "Checks that records in = rejected + scored, then evaluates the pipeline's gates. "
        "A gate with `then: hold` ends the run here: nothing is published, everything is kept, and a run "
        "with `publish_run` publishes it anyway."
    ),
    task_ids.PUBLISH: (
        "Copies the rows to the output, reads them back, and commits them with one conditional write of "
        "`_manifest.json`. If that fails, nothing is published."
    ),
    task_ids.CLEAN_UP: (
        "Stops the run's jobs and deletes its models, however the run ended. For a run that has published, writes "
        "`report.json` and `report.html`: records in and out, predictions, gates, and cost. The tab *Batch inference* "
        "of the run shows the same."
    ),
}


def set_task_docs(dag: DAG) -> None:
    """Set each task's `doc_md`, which Airflow's UI shows.

    Airflow 3.0 has no place for a plugin's pages, so the DAG's own documentation links to them there.
    """
    if not has_feature("external views"):
        # Relative to the base URL, which Airflow's UI states.
        link = f"[Batch inference: the runs of this pipeline](batch-inference/runs?{urlencode({'dag_id': dag.dag_id})})"
        dag.doc_md = f"{dag.doc_md}\n\n{link}" if dag.doc_md else link
    for task in dag.tasks:
        text = TASK_DOCS.get(task.task_id)
        if isinstance(task, MappedOperator):
            task.partial_kwargs["doc_md"] = text
        else:
            task.doc_md = text
