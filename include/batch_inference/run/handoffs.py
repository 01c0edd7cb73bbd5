"""XCom values of one plan: a value gets the plan's nonce when it is pushed, and `pull` checks the nonce.

`add_nonce` marks a task's own value. Jobs need no mark: their names contain a digest of the nonce. `pull` raises an
error that says what to clear when a value belongs to an earlier plan, or is missing because a task was marked success
by hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from batch_inference.common.errors import HandoffError
from batch_inference.common.names import build_name_token
from batch_inference.run import task_ids

if TYPE_CHECKING:
    from batch_inference.planning.plan import Plan

RETURN_VALUE = "return_value"
#: Where the finished job of `preprocess` and its counts are; the return value are the groups of shards for `join`.
PREPROCESS_JOB, SHARD_STATS = ((task_ids.AWAIT_PREPROCESS, key) for key in ("job", "shard_stats"))
#: The key of the plan's nonce in a value.
NONCE_KEY = "nonce"
#: The task to clear for a new value of a task that waits for a job: the one that submits the job.
SUBMIT_TASK_BY_WAIT = {
    task_ids.AWAIT_PREPROCESS: task_ids.PREPROCESS,
    task_ids.AWAIT_CANARY: task_ids.TRANSFORM_CANARY,
    task_ids.AWAIT_TRIAL: task_ids.TRANSFORM_TRIAL,
    task_ids.AWAIT_TRANSFORM: task_ids.TRANSFORM,
    task_ids.AWAIT_JOIN_JOB: task_ids.JOIN_JOB,
}
#: XComs compared to report which tasks belong to which plan, in execution order. Without tasks that may be mapped, or
#: skipped while they keep a value from before a clear.
COMPARED_XCOMS = (
    PREPROCESS_JOB,
    (task_ids.CUT_INPUT, "cut_stats"),
    (task_ids.WRITE_MANIFESTS, RETURN_VALUE),
    (task_ids.CALIBRATE, RETURN_VALUE),
    (task_ids.CHECKS, RETURN_VALUE),
    (task_ids.PUBLISH, RETURN_VALUE),
)
#: States of `plan` in which it will still return a plan.
PLANNING_STATES = {None, "scheduled", "queued", "running", "restarting", "up_for_retry"}


class PlanNotReadyError(Exception):
    """`plan` is running again; the next try of the task finds its plan."""


def add_nonce(value: Any, nonce: str) -> Any:
    """Add the plan's nonce to a dict, or to each dict of a list; other values stay as they are."""
    if isinstance(value, Mapping):
        return {**value, NONCE_KEY: nonce}
    if isinstance(value, list):
        return [add_nonce(each, nonce) for each in value]
    return value


def is_of_plan(value: Any, nonce: str) -> bool:
    """Whether an XCom value belongs to the plan with this nonce."""
    if isinstance(value, Mapping):
        if NONCE_KEY in value:
            return bool(value[NONCE_KEY] == nonce)
        if isinstance(value.get("spec"), Mapping):  # what an operator returns
            return is_of_plan(value["spec"], nonce)
        name = value.get("job_name") or value.get("base_name")
        return isinstance(name, str) and build_name_token(nonce) in name
    return isinstance(value, list | tuple) and all(is_of_plan(each, nonce) for each in value)


def pull_plan(ti: Any) -> Plan:
    """The run's plan.

    Raises:
        HandoffError: there is none, or another version of this package made it.
        PlanNotReadyError: there is none yet.
    """
    from batch_inference.planning.plan import Plan

    plan = _pull_xcom(ti, task_ids.PLAN)
    if plan is None:
        state = _get_task_state(ti, task_ids.PLAN)
        if state in PLANNING_STATES:
            raise PlanNotReadyError(f"`plan` is {state}: it runs again, and has not returned a plan yet")
        raise _missing_xcom_error(task_ids.PLAN, state)
    return Plan.from_document(plan, "the plan that `plan` returned")


def pull(
    ti: Any,
    task_id: str,
    key: str = RETURN_VALUE,
    *,
    nonce: str | None = None,
    map_indexes: Iterable[int] | int | None = None,
    is_optional: bool = False,
) -> Any:
    """The XCom value of a task, which must belong to the run's plan; `nonce` is the plan's, if it is known already.

    With `is_optional`, None when there is no value. Several `map_indexes` give a list.

    Raises:
        HandoffError: there is no value, or it belongs to another plan.
    """
    nonce = nonce or pull_plan(ti).nonce
    value = _pull_xcom(ti, task_id, key, map_indexes)
    several = map_indexes is not None and not isinstance(map_indexes, int)
    if value is None or (several and any(each is None for each in value)):
        if is_optional:
            return None
        raise _missing_xcom_error(task_id, _get_task_state(ti, task_id))
    if several:
        value = list(value)
    if not is_of_plan(value, nonce):
        raise _mixed_plans_error(ti, task_id, nonce)
    return value


def filter_by_plan(ti: Any, task_id: str, values: Iterable[Any] | None, nonce: str) -> list[Any]:
    """Those of a mapped task's values that belong to the plan with this nonce.

    When a later plan has fewer groups, Airflow keeps the values of the map indexes that are gone.

    Raises:
        HandoffError: there is no value, or none of them belongs to it.
    """
    found = list(values or ())
    if not found:
        raise _missing_xcom_error(task_id, _get_task_state(ti, task_id))
    picked = [value for value in found if is_of_plan(value, nonce)]
    if not picked:
        raise _mixed_plans_error(ti, task_id, nonce)
    return picked


def _pull_xcom(
    ti: Any, task_id: str, key: str = RETURN_VALUE, map_indexes: Iterable[int] | int | None = None
) -> Any:
    which: dict[str, Any] = {} if map_indexes is None else {"map_indexes": map_indexes}
    return ti.xcom_pull(task_id, **({} if key == RETURN_VALUE else {"key": key}), **which)


def _missing_xcom_error(task_id: str, state: str | None) -> HandoffError:
    found = "it pushed no value" if state is None else f"it is {state} and pushed no value"
    return HandoffError(
        f"`{task_id}`: {found}. A task that was marked success by hand does no work: clear `{task_id}` with all that "
        f"follows it"
    )


def _mixed_plans_error(ti: Any, task_id: str, nonce: str) -> HandoffError:
    """The error that lists which of the run's tasks belong to its plan and which do not."""
    is_current = {task_id: False}
    for each, key in COMPARED_XCOMS:
        value = _pull_xcom(ti, each, key)
        if value is not None:
            is_current[each] = is_of_plan(value, nonce) and is_current.get(each, True)
    order = [each for each, _ in COMPARED_XCOMS]
    known = sorted(is_current, key=lambda each: order.index(each) if each in order else len(order))
    earlier = [each for each in known if not is_current[each]]
    current = [task_ids.PLAN, *(each for each in known if is_current[each])]
    first = SUBMIT_TASK_BY_WAIT.get(earlier[0], earlier[0])
    return HandoffError(
        f"`{task_ids.PLAN}` has run again without all that follows it: {_format_task_ids(current)} belong to the "
        f"current plan ({nonce[:6]}), {_format_task_ids(earlier)} to another one. Plans are never mixed: clear "
        f"`{first}` with all that follows it"
    )


def _format_task_ids(task_ids: Sequence[str]) -> str:
    return ", ".join(f"`{each}`" for each in task_ids)


def _get_task_state(ti: Any, task_id: str) -> str | None:
    states: Mapping[str, str | None] = ti.get_task_states(
        dag_id=ti.dag_id, task_ids=[task_id], run_ids=[ti.run_id]
    ).get(ti.run_id, {})
    return next(iter(states.values()), None)
