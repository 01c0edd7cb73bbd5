"""Jinja expressions that fill the jobs' template fields from this run's plan, and the macros that they call.

What is filled is visible in Airflow under "Rendered Templates".
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from airflow.sdk.configuration import conf

from include.orchestration import handoffs
from include.orchestration.names import CALIBRATE, MANIFESTS, SHARDS
from include.orchestration.refusals import final
from include.scoring.naming import job_base_name
from sagemaker_jobs.janitor import run_tag
from sagemaker_jobs.kinds import JobKind
from sagemaker_jobs.tags import tag_value


def from_plan(path: str) -> str:
    """The plan's value at a dotted path, such as `transform.instance_count`."""
    return f"{{{{ plan_of(ti).{path} }}}}"


def types_from_plan(stage: str) -> str:
    """The instance types that a stage may run on, parted by blanks, in the order in which they are tried."""
    return from_plan(f"{stage}.instance_types | join(' ')")


def from_calibration(key: str) -> str:
    """What `calibrate` decided about the transform of all but the canary's shard."""
    return f"{{{{ handed_on(ti, '{CALIBRATE}').{key} }}}}"


def from_shards(key: str) -> str:
    """A fact that `shards` read back from what `preprocess` wrote."""
    return f"{{{{ handed_on(ti, '{SHARDS}', 'facts').{key} }}}}"


def from_manifests(key: str) -> str:
    """What `manifests` gave to this one of the mapped transform jobs."""
    return f"{{{{ handed_on(ti, '{MANIFESTS}')[ti.map_index].{key} }}}}"


def submitted(task_id: str, kind: JobKind, *, mapped: bool = False) -> str:
    """The name of the job that the task submitted; of a mapped task, that of the caller's own map index."""
    indexes = ", map_indexes=ti.map_index" if mapped else ""
    return f"{{{{ handed_on(ti, '{task_id}'{indexes})['{kind.name}']['{kind.name_field}'] }}}}"


def name_of_job(step: str) -> str:
    """The base name of this step's job: equal over automatic retries, another one after a clear."""
    return f"{{{{ job_name(ti, '{step}') }}}}"


def shared_name(step: str) -> str:
    """The same for what all instances of a mapped task share."""
    return f"{{{{ job_name(ti, '{step}', shared=True) }}}}"


def earlier_names_of_job(step: str) -> str:
    """The base names that this step's job had before each clear of the task; nothing if it was never cleared."""
    return f"{{{{ earlier_job_names(ti, '{step}') }}}}"


#: Tag that says which Airflow a job belongs to, where several share an account.
DEPLOYMENT_TAG = "airflow:deployment"


def deployment() -> str:
    """Which Airflow this is, as a tag's value: a hash of the address of its UI and of who issues its tokens, if stated.

    Both are settings of Airflow's that all its processes share, and neither is a secret.
    """
    stated = [conf.get("api", "base_url", fallback=""), conf.get("api_auth", "jwt_issuer", fallback="")]
    return hashlib.sha256("\n".join(filter(None, stated)).encode()).hexdigest()[:12]


def macros(pipeline: str) -> dict[str, Callable[..., Any]]:
    """What the expressions above may call."""
    plan_of, handed_on = final(handoffs.pull_plan), final(handoffs.pull)

    def job_name(ti: Any, step: str, *, shared: bool = False, max_tries: int | None = None) -> str:
        return job_base_name(
            pipeline=pipeline, step=step, nonce=plan_of(ti)["nonce"], task_id=ti.task_id,
            map_index=-1 if shared or ti.map_index is None else ti.map_index,
            max_tries=ti.max_tries if max_tries is None else max_tries,
        )  # fmt: skip

    def earlier_job_names(ti: Any, step: str) -> str:
        # `max_tries` begins as the task's retries and rises with each clear by what was tried meanwhile.
        return " ".join(
            job_name(ti, step, max_tries=tries) for tries in range(ti.task.retries or 0, ti.max_tries)
        )

    return {
        "plan_of": plan_of,
        "handed_on": handed_on,
        "job_name": job_name,
        "earlier_job_names": earlier_job_names,
        "run_tag": run_tag,
        "tag_value": tag_value,
        "deployment": deployment,
    }
