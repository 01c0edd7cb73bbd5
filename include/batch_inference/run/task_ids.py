"""The tag of the DAGs, and the task ids in execution order.

`cut_input` and `write_manifests` are tasks of pipelines without `preprocess`.
"""

from __future__ import annotations

#: The Airflow tag of every DAG that `build_scoring_dag` builds; the Batch inference page finds the pipelines by it.
PIPELINE_TAG = "batch inference"

PLAN = "plan"
AWAIT_APPROVAL = "await_approval"
PREPROCESS = "preprocess"
AWAIT_PREPROCESS = "await_preprocess"
CUT_INPUT = "cut_input"
WRITE_MANIFESTS = "write_manifests"
TRANSFORM_CANARY = "transform_canary"
AWAIT_CANARY = "await_canary"
CALIBRATE = "calibrate"
SELECT_TRIALS = "select_trials"
TRANSFORM_TRIAL = "transform_trial"
AWAIT_TRIAL = "await_trial"
TRANSFORM = "transform"
AWAIT_TRANSFORM = "await_transform"
CHOOSE_JOIN = "choose_join"
JOIN = "join"
JOIN_JOB = "join_job"
AWAIT_JOIN_JOB = "await_join_job"
COLLECT_PARTS = "collect_parts"
CHECKS = "checks"
PUBLISH = "publish"
CLEAN_UP = "clean_up"

#: All tasks in execution order.
TASK_ORDER = (
    PLAN,
    AWAIT_APPROVAL,
    PREPROCESS,
    AWAIT_PREPROCESS,
    CUT_INPUT,
    WRITE_MANIFESTS,
    TRANSFORM_CANARY,
    AWAIT_CANARY,
    CALIBRATE,
    SELECT_TRIALS,
    TRANSFORM,
    TRANSFORM_TRIAL,
    AWAIT_TRANSFORM,
    AWAIT_TRIAL,
    CHOOSE_JOIN,
    JOIN,
    JOIN_JOB,
    AWAIT_JOIN_JOB,
    COLLECT_PARTS,
    CHECKS,
    PUBLISH,
    CLEAN_UP,
)

#: The task that submits the job, by the task that waits for it.
SUBMITTING_TASKS = {
    AWAIT_PREPROCESS: PREPROCESS,
    AWAIT_CANARY: TRANSFORM_CANARY,
    AWAIT_TRIAL: TRANSFORM_TRIAL,
    AWAIT_TRANSFORM: TRANSFORM,
    AWAIT_JOIN_JOB: JOIN_JOB,
}


def get_task_position(task: str) -> tuple[int, int]:
    """Sorts task instances in execution order; those of one mapped task (`join_0`) by map index."""
    if task in TASK_ORDER:
        return TASK_ORDER.index(task), -1
    task_id, _, index = task.rpartition("_")
    if task_id in TASK_ORDER and index.isdigit():
        return TASK_ORDER.index(task_id), int(index)
    return len(TASK_ORDER), -1
