"""Defines the errors of this package as one tree.

BatchInferenceError
├── PipelineError         the YAML file of a pipeline is wrong: file, field, found, allowed
├── PlaceholderError      a URI holds an unknown placeholder
├── ParamsError           the params of one run are wrong: unknown keys, values outside limits
├── PlanError             no plan is possible, or none within the limits; nothing was spent
│   ├── SetupError        AWS lacks what the run's jobs need, or several things are wrong at once
│   ├── ModelError        SageMaker has no such model, or no version of it that may be used
│   ├── NotApprovedError  the run is above its budget, and nobody approved it
│   ├── PoolError         the Airflow pool that limits the jobs is missing, or does not limit them
│   └── EmptyInputError   the input holds no object and the pipeline says `on_empty: fail`
├── RequestLintError      SageMaker would refuse, or misread, a request or its input
├── TooManyRejectsError   more records were rejected than the pipeline allows; no transform was paid for
├── ManifestError         a manifest written by a job cannot be read
├── OutputConflictError   the manifest at the output prefix is not of this pipeline; nothing there is changed
├── PolicyError           the pipeline file does not determine the resources that its IAM policies name
├── PriceListError        AWS's price list cannot be read, or does not have the region
├── HandoffError          the result of an earlier task is missing, or belongs to another plan of the run
├── RunHeldByGatesError   a gate holds the run: scored, kept, and not published
├── RunNotHeldError       the run to publish by hand does not exist, or is not held
└── ReconciliationError   records in are not records rejected plus records joined

Every class carries plain strings as its arguments, so that it can be pickled: Airflow passes exceptions
between processes.
"""

from __future__ import annotations


class BatchInferenceError(Exception):
    """Base class of the errors of this package. `str()` is one message for a person.

    Attributes: `headline`, what failed and why in one sentence; `advice`, what to do, or None where the message says
    it.
    """

    advice: str | None = None

    @property
    def headline(self) -> str:
        problems: tuple[str, ...] = getattr(self, "problems", ())
        if len(problems) < 2:
            return str(self).split("\n", 1)[0]
        return f"{len(problems)} problems. The first: {problems[0]}"


class PipelineError(BatchInferenceError):
    """A pipeline file that cannot be used.

    Attributes: `file`, the path as the caller spelled it; `problems`, one sentence each, with field, value found and
    allowed values.
    """

    advice = "Correct the file; then clear `plan` with all that follows it, or start a new run."

    def __init__(self, file: str, problems: tuple[str, ...]) -> None:
        super().__init__(file, problems)
        self.file = file
        self.problems = tuple(problems)

    @property
    def headline(self) -> str:
        return f"{self.file}: {super().headline}" if len(self.problems) > 1 else str(self)

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return f"{self.file}: {self.problems[0]}"
        lines = "\n".join(f"  - {problem}" for problem in self.problems)
        return f"{self.file}: {len(self.problems)} problems\n{lines}"


class PlaceholderError(BatchInferenceError):
    """A URI holds an unknown placeholder."""


class ParamsError(BatchInferenceError):
    """The params of a run cannot be used. Attribute `problems`: one sentence each."""

    advice = "Trigger a new run with values that are allowed."

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__(problems)
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "\n".join(self.problems)


class PlanError(BatchInferenceError):
    """No plan can be made for this input within the pipeline's limits."""


class SetupError(PlanError):
    """AWS lacks what the jobs of a run need, or several things are wrong. Attribute `problems`: one sentence each."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__(problems)
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "\n".join(self.problems)


class EmptyInputError(PlanError):
    """The input is empty and the pipeline says `on_empty: fail`."""

    advice = "Correct the prefix, or wait for the upload; then clear `plan` with all that follows it."


class NotApprovedError(PlanError):
    """The run is above its budget, and a person has not approved it; nothing was spent."""

    advice = "Trigger a new run with a higher budget, or with more time, and approve it in time."


class PoolError(PlanError):
    """The Airflow pool of a pipeline does not limit its jobs, or cannot be read."""


class ModelError(PlanError):
    """The model of the pipeline does not exist, or may not be used."""


class RequestLintError(BatchInferenceError):
    """SageMaker would refuse a request late, or misread it or its input. Attribute `problems`: one sentence each."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__(problems)
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "\n".join(self.problems)


class TooManyRejectsError(BatchInferenceError):
    """More records were rejected than `max_rejected` of the pipeline allows."""

    advice = (
        "Look at the rejects, which hold each record with its reason. Correct the data, the rules or `max_rejected`; "
        "then clear `plan` with all that follows it, or start a new run."
    )


class ManifestError(BatchInferenceError):
    """A manifest written by a job does not have the expected form."""


class OutputConflictError(BatchInferenceError):
    """The output prefix holds a manifest that this pipeline did not write."""


class PolicyError(BatchInferenceError):
    """The pipeline file does not determine the resources that its IAM policies name."""


class PriceListError(BatchInferenceError):
    """AWS's price list cannot be read, or does not have the region."""


class HandoffError(BatchInferenceError):
    """The result of an earlier task is missing, or belongs to another plan of the run."""


class RunHeldByGatesError(BatchInferenceError):
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

    @property
    def headline(self) -> str:
        return f"The run is held and published nothing: {'; '.join(self.reasons)}"

    @property
    def advice(self) -> str:  # type: ignore[override]  # of the run
        return f'Look at the data. To publish it as it is, trigger the DAG with {{"publish_run": "{self.run_id}"}}.'


class RunNotHeldError(BatchInferenceError):
    """The run that a person asked to publish is unknown, or not held."""


class ReconciliationError(BatchInferenceError):
    """Records were lost, duplicated or out of order. Attribute `shard`: the first shard concerned, or None."""

    def __init__(self, message: str, shard: str | None = None) -> None:
        super().__init__(message, shard)
        self.shard = shard

    def __str__(self) -> str:
        return str(self.args[0])
