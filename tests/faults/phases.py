"""Which cases share a pipeline, and which of these a run: a run, and Airflow that waits for one, is what costs time.

A pipeline goes through phases, one after the other. The cases of a phase strike one run in the order in which they
stand here, each at a stage of its own, and are checked together when the run has ended: so many jobs and tries as all
of them make, and the rows. A case after which a run fails has a phase to itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from tests.faults.case import Case
from tests.faults.cases import CASES
from tests.faults.scenario import NEW_RUN, SAME_RUN


@dataclass(frozen=True)
class Phase:
    """One or more cases on one run.

    Attributes:
        cases: in the order in which they act.
        begins: by a new run, by the run of the phase before as it ended, or by this task of it, which is cleared.
    """

    cases: tuple[Case, ...]
    begins: str = NEW_RUN

    def merge_cases(self) -> Case:
        """What must come of the phase, as one case.

        Raises:
            ValueError: what must come of one case excludes another one.
        """
        first, *others = self.cases
        for other in others:
            if other.conf or any(getattr(other, name) != getattr(first, name) for name in _SHARED_OUTCOME):
                raise ValueError(f"{other.name} cannot share a run with {first.name}")
        # A run without a fault makes one job of each stage and tries each task once; the cases add to it.
        tries = Counter[str]()
        for case in self.cases:
            tries.update({task: number - 1 for task, number in case.tries.items()})
        starts_tasks = 0 if self.begins == SAME_RUN else 1
        return replace(
            first,
            name=" + ".join(case.name for case in self.cases),
            tries={task: starts_tasks + number for task, number in tries.items()},
            preprocess=(self.begins == NEW_RUN) + sum(case.preprocess - 1 for case in self.cases),
            transform=starts_tasks + sum(case.transform - 1 for case in self.cases),
        )


_SHARED_OUTCOME = ("states", "published", "keeps", "bad_record", "leaves_model", "limit_seconds")


@dataclass(frozen=True)
class Pipeline:
    """A pipeline of the suite, and the phases that it goes through.

    Raises:
        ValueError: its cases want different settings.
    """

    name: str
    phases: tuple[Phase, ...] = ()
    settings: dict[str, Any] = field(init=False)
    tuning: dict[str, dict[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "settings", self._merge(lambda case: case.pipeline))
        object.__setattr__(self, "tuning", self._merge(lambda case: case.tuning))

    def _merge(self, get_settings: Callable[[Case], Any]) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for case in self.cases:
            for name, value in get_settings(case).items():
                if merged.setdefault(name, value) != value:
                    raise ValueError(
                        f"{self.name}: {case.name} wants another {name}: {value}, {merged[name]}"
                    )
        return merged

    @property
    def cases(self) -> list[Case]:
        """Those of all phases."""
        return [case for phase in self.phases for case in phase.cases]

    @property
    def is_alone(self) -> bool:
        """Whether no other pipeline may run meanwhile."""
        return any(case.alone for case in self.cases)

    def choose(self, cases: Iterable[Case]) -> Pipeline:
        """The pipeline with these of its cases only."""
        chosen = set(map(id, cases))
        phases: list[Phase] = []
        for phase in self.phases:
            if kept := tuple(case for case in phase.cases if id(case) in chosen):
                phases.append(Phase(kept, phase.begins if phases else NEW_RUN))
        return Pipeline(self.name, tuple(phases))


_CASES = {case.name: case for case in CASES}


def phase(*names: str, begins: str = NEW_RUN) -> Phase:
    """A phase of the cases of these names."""
    return Phase(tuple(_CASES[name] for name in names), begins)


#: Those that take longest come first; the one whose faults all others would feel comes last.
PIPELINES = (
    Pipeline("run-timeout", (phase("run-timeout"),)),
    Pipeline(
        "late",
        (
            phase("plan-cleared", "worker-after", "late-publish"),
            phase("cleared-afterwards", "late-commit", begins=SAME_RUN),
        ),
    ),
    Pipeline(
        "workers",
        (
            phase("odd-run-id", "cleared-at-work", "worker-between", "late-submit"),
            phase("sensor-cleared", begins=SAME_RUN),
        ),
    ),
    Pipeline(
        "failures",
        (
            phase("exit-1"),
            phase("no-ping", begins="transform"),
            phase("wait-marked", begins="transform"),
            phase("prediction-changed", begins="transform"),
            phase("prediction-gone", begins="transform"),
            phase("commit-denied", begins="transform"),
            phase("plan-alone", begins="transform"),
        ),
    ),
    Pipeline("capacity", (phase("worker-before", "quota", "no-capacity", "describe-fails"),)),
    Pipeline(
        "people",
        (
            phase("stopped-on-aws"),
            phase("marked-failed"),
            phase("run-marked-failed"),
            phase("run-deleted"),
            phase("foreign-manifest"),
        ),
    ),
    Pipeline(
        "answers",
        (
            phase(
                "early-date",
                "throttled",
                "token-expired",
                "describe-lags",
                "resets",
                "join-put",
                "file-edited",
            ),
        ),
    ),
    *(
        Pipeline(name, (phase(name),))
        for name in (
            "two-runs",
            "bad-record",
            "bad-object",
            "hang",
            "execution-timeout",
            "deferral-timeout",
        )
    ),
    Pipeline(
        "components",
        (phase("scheduler-killed", "triggerer-killed", "hand-over", "aws-restarted", "api-server-killed"),),
    ),
)
