"""The tag of the DAGs, and the task ids in execution order.

`cut_input` and `write_manifests` are tasks of pipelines without `preprocess`.
"""

from __future__ import annotations

#: The Airflow tag of every DAG that `build_scoring_dag` builds; the Batch inference page finds the pipelines by it.
PIPELINE_TAG = "batch inference"

PLAN = "plan"
AWAIT_APPROVAL = "approval"
PREPROCESS = "preprocess"
AWAIT_PREPROCESS = "preprocessed"
COLLECT_SHARDS = "shards"
CUT_INPUT = "cut"
WRITE_MANIFESTS = "manifests"
TRANSFORM_CANARY = "canary"
AWAIT_CANARY = "canaried"
CALIBRATE = "calibrate"
TRANSFORM = "transform"
AWAIT_TRANSFORM = "transformed"
CHOOSE_JOIN = "joining"
JOIN = "join"
JOIN_JOB = "join_job"
AWAIT_JOIN_JOB = "join_job_done"
COLLECT_PARTS = "joined"
CHECKS = "checks"
PUBLISH = "publish"
REPORT = "report"
CLEAN_UP = "clean_up"
