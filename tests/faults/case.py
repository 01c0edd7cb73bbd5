"""One case of the fault suite as data: what is injected, and what must come of it.

A case is told as if it were alone. Cases that leave each other alone share a run, see `tests.faults.phases`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.faults.scenario import Scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One fault, alone.

    Attributes:
        name: also of its test.
        fault: what happens, as the fault matrix says it.
        ending: how the run ends, as the fault matrix says it.
        act: triggers the run and injects the fault; returns once nothing more is to be done to the run.
        during: what the run is brought to for the act, and let go from after it; cases in a row share it.
        states: of the case's runs in the end, sorted; None of one that is deleted.
        tries: how many tries a task has had, where that is what the case is about.
        preprocess, transform: how many jobs of each stage are created, exactly.
        published: whether the output holds every row in the end, or nothing at all.
        keeps: names of files that were in the output before and stay there.
        bad_record: whether one record more is rejected than in a run without a fault.
        leaves_model: whether the run's model stays for the janitor, which deletes it after an hour.
        limit_seconds: after which a job is to be stopped, where the case sets a limit.
        alone: whether all runs of the deployment feel the fault, so that no other pipeline may run meanwhile.
        once: whether it can strike a pipeline once only.
        postgresql_only: needs two triggerers, which SQLite does not allow.
        on_sqlite: whether `make test` runs it on SQLite too; `make faults` runs all on both.
        pipeline: changes to deployed/pipeline.yaml, by dotted name.
        tuning: changes to the DAG's tasks, see deployed/fault_tuning.py.
        conf: of the run.
    """

    name: str
    fault: str
    ending: str
    act: Callable[[Scenario], None]
    during: Callable[[Scenario], AbstractContextManager[None]] | None = None
    states: tuple[str | None, ...] = ("success",)
    tries: Mapping[str, int] = field(default_factory=dict)
    preprocess: int = 1
    transform: int = 1
    published: bool = True
    keeps: frozenset[str] = frozenset()
    bad_record: bool = False
    leaves_model: bool = False
    limit_seconds: float | None = None
    alone: bool = False
    once: bool = False
    postgresql_only: bool = False
    on_sqlite: bool = False
    pipeline: Mapping[str, Any] = field(default_factory=dict)
    tuning: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    conf: Mapping[str, Any] = field(default_factory=dict)
