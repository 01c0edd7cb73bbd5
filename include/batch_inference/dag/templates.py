"""Jinja expressions that fill the jobs' template fields from the run's plan, and the macros that they call.

Airflow shows the rendered values under "Rendered Templates".
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from batch_inference.common.names import JobPaths, RunPaths, build_job_base_name
from batch_inference.dag.task_functions import no_retry
from batch_inference.run import handoffs
from sagemaker_jobs.airflow_compat import conf
from sagemaker_jobs.cleanup.janitor import DAG_TAG, RUN_ID_TAG, RUN_TAG, to_run_tag
from sagemaker_jobs.kinds import JobKind
from sagemaker_jobs.tags import to_tag_value


def template_plan_value(path: str) -> str:
    """Template of the plan's value at a dotted path, such as `transform.instance_count`."""
    return f"{{{{ pull_plan(ti).{path} }}}}"


def template_xcom_value(task_id: str, accessor: str, key: str = handoffs.RETURN_VALUE) -> str:
    """Template of a task's XCom value, followed by `accessor`: `.instance_count` or `[ti.map_index].manifest`."""
    return f"{{{{ pull_xcom(ti, '{task_id}'{'' if key == handoffs.RETURN_VALUE else f', {key!r}'}){accessor} }}}}"


def template_preprocess_paths() -> JobPaths:
    """The S3 URIs of what the run's preprocess job wrote, as templates."""
    paths = RunPaths(template_plan_value("run_prefix"))
    task_id, key = handoffs.PREPROCESS_JOB
    return paths.build_job_paths(template_xcom_value(task_id, ".job_name", key))


def template_submitted_job_name(task_id: str, kind: JobKind, *, is_mapped: bool = False) -> str:
    """Template of the name of the job that a task submitted; of a mapped task, with the caller's map index."""
    indexes = ", map_indexes=ti.map_index" if is_mapped else ""
    return f"{{{{ pull_xcom(ti, '{task_id}'{indexes})['{kind.name}']['{kind.name_field}'] }}}}"


def template_job_name(step: str, *, is_shared_by_map_indexes: bool = False) -> str:
    """Template of the base name of this step's job: the same over automatic retries, another one after a clear.

    All instances of a mapped task have the same name with `is_shared_by_map_indexes`, else each has its own.
    """
    return f"{{{{ job_name(ti, '{step}'{', shared=True' if is_shared_by_map_indexes else ''}) }}}}"


def template_earlier_job_names(step: str) -> str:
    """Template of the base names that this step's job had before each clear of the task; empty without a clear."""
    return f"{{{{ earlier_job_names(ti, '{step}') }}}}"


def build_run_tags(dag_id: str, run_id: str, model_key: str) -> dict[str, str]:
    """Tags of jobs and models that name their run: for AWS's bill, and to clean up after a lost run."""
    return {
        RUN_TAG: to_run_tag(run_id),
        RUN_ID_TAG: to_tag_value(run_id),
        DAG_TAG: dag_id,
        DEPLOYMENT_TAG: compute_deployment_id(),
        "model": model_key,
    }


def build_cleanup_tags(dag_id: str, run_id: str) -> dict[str, str]:
    """Those of the tags by which the jobs and models of a run of this Airflow are found."""
    return {DAG_TAG: dag_id, RUN_TAG: to_run_tag(run_id), DEPLOYMENT_TAG: compute_deployment_id()}


#: Tag that names the Airflow deployment of a job, for accounts that several deployments share.
DEPLOYMENT_TAG = "airflow:deployment"


def compute_deployment_id() -> str:
    """The id of this Airflow deployment, as a tag value: a hash of its UI's address and of its token issuer, if set.

    Both are settings that all processes of Airflow share, and neither is a secret.
    """
    stated = [conf.get("api", "base_url", fallback=""), conf.get("api_auth", "jwt_issuer", fallback="")]
    return hashlib.sha256("\n".join(filter(None, stated)).encode()).hexdigest()[:12]


def build_macros(pipeline_name: str) -> dict[str, Callable[..., Any]]:
    """The macros that the expressions above call."""
    pull_plan = no_retry(handoffs.pull_plan)

    def job_name(ti: Any, step: str, *, shared: bool = False, max_tries: int | None = None) -> str:
        return build_job_base_name(
            pipeline=pipeline_name, step=step, nonce=pull_plan(ti).nonce, task_id=ti.task_id,
            map_index=-1 if shared or ti.map_index is None else ti.map_index,
            max_tries=ti.max_tries if max_tries is None else max_tries,
        )  # fmt: skip

    def earlier_job_names(ti: Any, step: str) -> str:
        # `max_tries` begins as the task's retries and rises with each clear by what was tried meanwhile.
        tries = range(ti.task.retries or 0, ti.max_tries)
        return " ".join(job_name(ti, step, max_tries=each) for each in tries)

    return {
        "pull_plan": pull_plan,
        "pull_xcom": no_retry(handoffs.pull),
        "job_name": job_name,
        "earlier_job_names": earlier_job_names,
    }
