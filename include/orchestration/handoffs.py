"""What the tasks of a run hand on to each other belongs to one plan: it is marked with the plan's nonce, and checked.

A task that hands on a value of its own marks it (`mark`). Jobs need no mark: their names hold a digest of the nonce.
Whoever takes a value takes it here (`pull`), so that nothing of an earlier plan, and nothing that is missing because a
task was marked success by hand, gets any further than one sentence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from airflow.sdk.exceptions import AirflowException

from include.orchestration import names
from include.scoring.errors import HandoffError
from include.scoring.naming import name_token

RETURN_VALUE = "return_value"
#: The member by which a value says of which plan it is.
NONCE = "nonce"
#: Who has to be cleared for another value of a task that waits for a job: the task that submits it.
SUBMITTED_BY = {
    names.PREPROCESSED: names.PREPROCESS,
    names.CANARIED: names.CANARY,
    names.TRANSFORMED: names.TRANSFORM,
    names.JOIN_JOB_DONE: names.JOIN_JOB,
}
#: What is looked at to say how far a mix goes, in the order of the chain; tasks that may be
#: mapped, or skipped with what they handed on before a clear, are left out.
SURVEYED = (
    (names.PREPROCESSED, RETURN_VALUE),
    (names.SHARDS, "facts"),
    (names.CUT, "facts"),
    (names.MANIFESTS, RETURN_VALUE),
    (names.CALIBRATE, RETURN_VALUE),
    (names.CHECKS, RETURN_VALUE),
    (names.PUBLISH, RETURN_VALUE),
)
#: States of `plan` in which it is about to hand on a plan.
PLANNING = {None, "scheduled", "queued", "running", "restarting", "up_for_retry"}


class PlanInTheMaking(AirflowException):
    """`plan` runs again at this moment; the next try of the task finds what it hands on."""


def mark(value: Any, nonce: str) -> Any:
    """The value with the nonce of the plan that it belongs to: a dict, or a list of dicts; others stay as they are."""
    if isinstance(value, Mapping):
        return {**value, NONCE: nonce}
    if isinstance(value, list):
        return [mark(each, nonce) for each in value]
    return value


def is_of_plan(value: Any, nonce: str) -> bool:
    """Whether a value that was handed on says that it belongs to the plan with this nonce."""
    if isinstance(value, Mapping):
        if NONCE in value:
            return bool(value[NONCE] == nonce)
        if isinstance(value.get("spec"), Mapping):  # what an operator returns
            return is_of_plan(value["spec"], nonce)
        name = value.get("job_name") or value.get("base_name")
        return isinstance(name, str) and name_token(nonce) in name
    return isinstance(value, list | tuple) and all(is_of_plan(each, nonce) for each in value)


def pull_plan(ti: Any) -> dict[str, Any]:
    """The plan of the run, as `plan` has handed it on.

    Raises:
        HandoffError: there is none.
        PlanInTheMaking: there is none yet.
    """
    plan: dict[str, Any] | None = _handed_on(ti, names.PLAN)
    if plan is None:
        state = _state_of(ti, names.PLAN)
        if state in PLANNING:
            raise PlanInTheMaking(f"`plan` is {state}: it runs again, and has not handed on a plan yet")
        raise _missing(names.PLAN, state)
    return plan


def pull(
    ti: Any,
    task_id: str,
    key: str = RETURN_VALUE,
    *,
    map_indexes: Iterable[int] | int | None = None,
    is_optional: bool = False,
) -> Any:
    """What a task of this run has handed on under the run's plan.

    `is_optional`: None where it has handed on nothing. Several `map_indexes` give a list.

    Raises:
        HandoffError: it has handed on nothing, or what belongs to another plan.
    """
    nonce = pull_plan(ti)[NONCE]
    value = _handed_on(ti, task_id, key, map_indexes)
    several = map_indexes is not None and not isinstance(map_indexes, int)
    if value is None or (several and any(each is None for each in value)):
        if is_optional:
            return None
        raise _missing(task_id, _state_of(ti, task_id))
    if several:
        value = list(value)
    if not is_of_plan(value, nonce):
        raise _of_another_plan(ti, task_id, nonce)
    return value


def pick(ti: Any, task_id: str, values: Iterable[Any] | None) -> list[Any]:
    """Those of a mapped task's values that belong to the run's plan.

    A mapped task that a later plan has no more, because there are fewer groups, leaves its value in Airflow.

    Raises:
        HandoffError: there is no value, or none of them belongs to it.
    """
    nonce, found = pull_plan(ti)[NONCE], list(values or ())
    if not found:
        raise _missing(task_id, _state_of(ti, task_id))
    picked = [value for value in found if is_of_plan(value, nonce)]
    if not picked:
        raise _of_another_plan(ti, task_id, nonce)
    return picked


def _handed_on(
    ti: Any, task_id: str, key: str = RETURN_VALUE, map_indexes: Iterable[int] | int | None = None
) -> Any:
    which: dict[str, Any] = {} if map_indexes is None else {"map_indexes": map_indexes}
    return ti.xcom_pull(task_id, **({} if key == RETURN_VALUE else {"key": key}), **which)


def _missing(task_id: str, state: str | None) -> HandoffError:
    found = "it has handed on nothing" if state is None else f"it is {state} and has handed on nothing"
    return HandoffError(
        f"`{task_id}`: {found}. A task that was marked success by hand does no work: clear `{task_id}` with all that "
        f"follows it"
    )


def _of_another_plan(ti: Any, task_id: str, nonce: str) -> HandoffError:
    """Tells which of the run's tasks are of its plan and which are not."""
    stands = {task_id: False}
    for each, key in SURVEYED:
        value = _handed_on(ti, each, key)
        if value is not None:
            stands[each] = is_of_plan(value, nonce) and stands.get(each, True)
    order = [each for each, _ in SURVEYED]
    known = sorted(stands, key=lambda each: order.index(each) if each in order else len(order))
    earlier = [each for each in known if not stands[each]]
    current = [names.PLAN, *(each for each in known if stands[each])]
    first = SUBMITTED_BY.get(earlier[0], earlier[0])
    return HandoffError(
        f"`{names.PLAN}` has run again without all that follows it: {_listed(current)} belong to the plan of now "
        f"({nonce[:6]}), {_listed(earlier)} to another one. Nothing is made of a mix: clear `{first}` with all that "
        f"follows it"
    )


def _listed(task_ids: Sequence[str]) -> str:
    return ", ".join(f"`{each}`" for each in task_ids)


def _state_of(ti: Any, task_id: str) -> str | None:
    states: Mapping[str, str | None] = ti.get_task_states(
        dag_id=ti.dag_id, task_ids=[task_id], run_ids=[ti.run_id]
    ).get(ti.run_id, {})
    return next(iter(states.values()), None)
