"""What each task of the chain is for: Airflow shows it beside the task, and the Batch inference page too."""

from __future__ import annotations

from airflow.sdk import DAG
from airflow.sdk.definitions.mappedoperator import MappedOperator

from include.orchestration import names

TASKS = {
    names.PLAN: (
        "Lists the input, chooses the size of each cluster and says why. Spends nothing: what it "
        "refuses, it refuses before any job exists."
    ),
    names.APPROVAL: (
        "Asks a person when the plan is above the pipeline's budget, under *Required actions*; passes at once when it "
        "is not. Rejected, or not answered in time, the run fails, and nothing was spent."
    ),
    names.PREPROCESS: (
        "Submits the SageMaker processing job that checks every record and cuts the good ones "
        "into equal shards. A retry finds the job again instead of paying for a second one."
    ),
    names.PREPROCESSED: (
        "Waits for the processing job without holding a worker. Fails with AWS's reason and the "
        "last lines of the job's log."
    ),
    names.SHARDS: (
        "Reads back what the processing job wrote, counts it, and refuses to go on when too many "
        "records were rejected. Puts the shards into groups for `join`."
    ),
    names.CUT: (
        "Cuts large objects of the input at line ends by copies inside S3, puts tiny ones together, or leaves all "
        "where they lie, as the plan says. Puts what the transform reads into groups for `join`."
    ),
    names.MANIFESTS: (
        "Lists the objects that each transform job reads, so that all of them have about the same work."
    ),
    names.CANARY: (
        "Transforms one shard alone, on one instance, where no run of this model was measured yet; skipped else."
    ),
    names.CANARIED: ("Waits for the one shard without holding a worker."),
    names.CALIBRATE: (
        "Sizes the transform of the other shards from what the first one took, on the instance type that it got, "
        "within the deadline and the budget."
    ),
    names.TRANSFORM: (
        "Submits the SageMaker batch transform job, on no more instances than there are shards."
    ),
    names.TRANSFORMED: (
        "Waits for the transform job without holding a worker. Fails with AWS's reason and the "
        "last lines of each container's log."
    ),
    names.JOIN: (
        "Puts each record beside its prediction, shard by shard, and stops when a shard has not "
        "as many predictions as records."
    ),
    names.JOINING: (
        "Decides by the bytes of the records whether Airflow's workers join them (`join`) or a SageMaker processing "
        "job does (`join_job`); the other branch is skipped."
    ),
    names.JOIN_JOB: "Submits the processing job that joins, with a share of the records on each instance.",
    names.JOIN_JOB_DONE: "Waits for the processing job that joins without holding a worker.",
    names.JOINED: "Gathers the joined parts, whoever wrote them.",
    names.CHECKS: (
        "Proves that records in = rejected + scored, then judges the predictions by the pipeline's gates. "
        "A gate that says `hold` ends the run here: nothing is published, everything is kept, and a run "
        "with `publish_run` publishes it all the same."
    ),
    names.PUBLISH: (
        "Copies the rows to the output, reads them back, and commits them with one conditional write of "
        "`_manifest.json`. Otherwise it publishes nothing."
    ),
    names.REPORT: (
        "Writes `report.json` and `report.html`: what came in, what became of it, what it cost. "
        "The tab *Batch inference* of the run shows the same."
    ),
    names.CLEAN_UP: ("Stops whatever still runs and deletes the run's model, however the run ended."),
}


def document(dag: DAG) -> None:
    """Put each task's text beside it in Airflow's UI."""
    for task in dag.tasks:
        text = TASKS.get(task.task_id)
        if isinstance(task, MappedOperator):
            task.partial_kwargs["doc_md"] = text
        else:
            task.doc_md = text
