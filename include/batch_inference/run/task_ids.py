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
