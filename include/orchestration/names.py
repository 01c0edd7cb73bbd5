"""The tag of the DAGs, and the task ids of the chains in the order of the way of the data.

`cut` and `manifests` belong to pipelines without `preprocess`.
"""

from __future__ import annotations

#: The Airflow tag of every DAG that `scoring_dag` makes; the Batch inference page finds the pipelines by it.
PIPELINE_TAG = "batch inference"

PLAN = "plan"
APPROVAL = "approval"
PREPROCESS = "preprocess"
PREPROCESSED = "preprocessed"
SHARDS = "shards"
CUT = "cut"
MANIFESTS = "manifests"
CANARY = "canary"
CANARIED = "canaried"
CALIBRATE = "calibrate"
TRANSFORM = "transform"
TRANSFORMED = "transformed"
JOINING = "joining"
JOIN = "join"
JOIN_JOB = "join_job"
JOIN_JOB_DONE = "join_job_done"
JOINED = "joined"
CHECKS = "checks"
PUBLISH = "publish"
REPORT = "report"
CLEAN_UP = "clean_up"
