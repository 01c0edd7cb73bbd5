"""The errors of scoring, drawn as a tree.

ScoringError
├── PipelineError         the YAML file of a pipeline is wrong: file, field, found, allowed
├── PlaceholderError      a URI holds a placeholder that nothing can fill
├── ParamsError           the params of one run are wrong: unknown keys, values outside limits
├── PlanError             no plan can be made, or none within the limits; nothing was spent
│   ├── ModelError        SageMaker has no such model, or no version of it that may score
│   ├── PoolError         the Airflow pool that shall limit the jobs is missing, or would limit nothing
│   └── EmptyInputError   the input holds no object and the pipeline says `on_empty: fail`
├── LintError             SageMaker would refuse, or misread, the request that was built
├── RejectedError         more records were rejected than the pipeline allows; no transform was paid for
├── ManifestError         what a job says it wrote cannot be read
├── OutputError           the output prefix holds a manifest that is not this pipeline's; nothing of it is touched
├── PolicyError           the resources that a pipeline's IAM policies name cannot be told from its file
├── HandoffError          what a task needs of another is missing, or belongs to another plan of the run
├── HeldError             a gate of the pipeline holds the run: scored, kept, and not published
├── ReleaseError          the run that is to be published by hand is not there, or is not held
└── ReconciliationError   records in are not records rejected plus records joined

Every class carries plain strings as its arguments, so that it survives pickling: Airflow passes exceptions
between processes.
"""

from __future__ import annotations


class ScoringError(Exception):
    """Root of what this package raises. `str()` is one message for a person."""


class PipelineError(ScoringError):
    """A pipeline file that cannot be used.

    Attributes: `file` as it was given, `problems` one sentence each, naming field, what was found and what
    is allowed.
    """

    def __init__(self, file: str, problems: tuple[str, ...]) -> None:
        super().__init__(file, problems)
        self.file = file
        self.problems = tuple(problems)

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return f"{self.file}: {self.problems[0]}"
        lines = "\n".join(f"  - {problem}" for problem in self.problems)
        return f"{self.file}: {len(self.problems)} problems\n{lines}"


class PlaceholderError(ScoringError):
    """A text holds a placeholder other than the known ones."""


class ParamsError(ScoringError):
    """The params of a run cannot be used. Attribute `problems`: one sentence each."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__(problems)
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "; ".join(self.problems)


class PlanError(ScoringError):
    """No plan can be made for this input within the pipeline's limits."""


class EmptyInputError(PlanError):
    """There is nothing to score, and the pipeline asked that this be an error."""


class PoolError(PlanError):
    """The Airflow pool that a pipeline names does not limit its jobs, or cannot be looked at."""


class ModelError(PlanError):
    """The model that the pipeline names is not there, or may not be used."""


class LintError(ScoringError):
    """A request that SageMaker would refuse late or misread. Attribute `problems`: one sentence each."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__(problems)
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "\n".join(self.problems)


class RejectedError(ScoringError):
    """More records were rejected than `max_rejected` of the pipeline allows."""


class ManifestError(ScoringError):
    """A manifest written by a job is not of the agreed shape."""


class OutputError(ScoringError):
    """Something else than this pipeline published where it is to publish."""


class PolicyError(ScoringError):
    """A pipeline file does not say which resources its IAM policies have to name."""


class HandoffError(ScoringError):
    """A task of the run has handed on nothing, or what belongs to another plan than the run's."""


class HeldError(ScoringError):
    """Gates hold the run. Attributes: `run_id`, and `reasons`, one sentence each."""

    def __init__(self, run_id: str, reasons: tuple[str, ...]) -> None:
        super().__init__(run_id, reasons)
        self.run_id = run_id
        self.reasons = tuple(reasons)

    def __str__(self) -> str:
        return (
            f"the run is held and published nothing: {'; '.join(self.reasons)}. All of it is kept; to publish it as it "
            f'is, trigger the DAG by hand with {{"publish_run": "{self.run_id}"}}'
        )


class ReleaseError(ScoringError):
    """The run that a person asked to publish is unknown, or not held."""


class ReconciliationError(ScoringError):
    """Records were lost, doubled or mixed up. Attribute `shard`: the first one concerned, or None."""

    def __init__(self, message: str, shard: str | None = None) -> None:
        super().__init__(message, shard)
        self.shard = shard

    def __str__(self) -> str:
        return str(self.args[0])
