"""Defines the gates: checks of a run's predictions before they are published.

Each gate warns or holds. `batch_inference.verification.gate_checks` evaluates them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, StrictFloat, StrictInt, model_validator

from batch_inference.common import s3_uri
from batch_inference.config.sections.record_rules import FrozenModel
from batch_inference.config.validation_errors import FieldError, check_name
from batch_inference.jobs.common.cell_types import is_number_type

PREVIOUS = "previous"


class SelectedSection(FrozenModel):
    """Which rows count as selected: a bound on a number, or the values of a text."""

    column: str = Field(description="Output column of predictions.fields.")
    min: StrictFloat | None = Field(default=None, description="Smallest number that counts as selected.")
    max: StrictFloat | None = Field(default=None, description="Largest number that counts as selected.")
    values: tuple[str, ...] = Field(default=(), description="Texts that count as selected.")

    def check_column(self, prediction_types: Mapping[str, str]) -> None:
        """Raise ValueError for a column that is not a prediction or is JSON, or for bounds that do not fit its type."""
        check_name(self.column, prediction_types, "predictions.selected.column", "the prediction columns")
        if prediction_types[self.column] == "json":
            raise FieldError(
                "predictions.selected",
                f"{self.column} has type json; allowed are columns of any other type",
            )
        numeric = is_number_type(prediction_types[self.column])
        bounds = self.min is not None or self.max is not None
        if numeric != bounds or numeric == bool(self.values):
            raise FieldError(
                "predictions.selected",
                f"{self.column} has type {prediction_types[self.column]}; a number has min, "
                f"max or both, any other type has values",
            )
        wrong = set(self.values) - {"true", "false"}
        if wrong and prediction_types[self.column] == "boolean":
            raise FieldError(
                "predictions.selected.values",
                f"found {min(wrong)!r}; {self.column} has type boolean: allowed are 'true' and 'false'",
            )


class _Gate(FrozenModel):
    then: Literal["warn", "hold"] = Field(
        description="warn: publish and log a warning. hold: publish only when a person releases the run."
    )


class NullsGate(_Gate):
    """The share of missing predictions in a column."""

    gate: Literal["nulls"] = Field(description="Kind of gate.")
    column: str = Field(description="A prediction column.")
    max_share: StrictFloat = Field(ge=0, le=1, description="Largest share of rows without a prediction.")


class RangeGate(_Gate):
    """Every prediction lies between `min` and `max`."""

    gate: Literal["range"] = Field(description="Kind of gate.")
    column: str = Field(description="A prediction column that holds numbers.")
    min: StrictFloat | None = Field(default=None, description="Smallest prediction allowed.")
    max: StrictFloat | None = Field(default=None, description="Largest prediction allowed.")

    @model_validator(mode="after")
    def _has_a_range(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("found neither min nor max; a range needs one of them, or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"found min {self.min:g} and max {self.max:g}; no number lies between them")
        return self


class ConstantGate(_Gate):
    """The predictions are not all the same."""

    gate: Literal["constant"] = Field(description="Kind of gate.")
    column: str = Field(description="A prediction column.")
    min_rows: StrictInt = Field(default=2, ge=2, description="A run with fewer rows is not checked.")


class RowsGate(_Gate):
    """The number of rows, as a multiple of the median of the last published runs."""

    gate: Literal["rows"] = Field(description="Kind of gate.")
    min_ratio: StrictFloat | None = Field(default=None, ge=0, description="Smallest multiple, such as 0.5.")
    max_ratio: StrictFloat | None = Field(default=None, gt=0, description="Largest multiple, such as 2.")
    runs: StrictInt = Field(
        default=7, ge=1, le=100, description="Number of earlier published runs for the median."
    )

    @model_validator(mode="after")
    def _has_a_bound(self) -> Self:
        if self.min_ratio is None and self.max_ratio is None:
            raise ValueError(
                "found neither min_ratio nor max_ratio; the number of rows needs one of them, or both"
            )
        return self


class DriftGate(_Gate):
    """The distribution of a column's predictions, compared with an earlier run's."""

    gate: Literal["drift"] = Field(description="Kind of gate.")
    column: str = Field(description="A prediction column.")
    max_psi: StrictFloat | None = Field(
        default=None, gt=0, description="Largest population stability index; 0.1 is small, 0.25 is large."
    )
    min_p_value: StrictFloat | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Smallest p-value of a test on samples: Kolmogorov-Smirnov for numbers, chi-squared for texts.",
    )
    against: str = Field(
        default=PREVIOUS,
        description="`previous`, the run published before this one, or the S3 URI of a run's statistics.json.",
    )

    @model_validator(mode="after")
    def _has_a_limit(self) -> Self:
        if self.max_psi is None and self.min_p_value is None:
            raise ValueError("found neither max_psi nor min_p_value; drift needs one of them, or both")
        if self.against != PREVIOUS and not s3_uri.is_s3_uri(self.against):
            raise ValueError(
                f"found against {self.against!r}; allowed are previous and an S3 URI of a statistics.json"
            )
        return self


class GroupRejectsGate(_Gate):
    """How much more often the rules reject one group than all others."""

    gate: Literal["group_rejects"] = Field(description="Kind of gate.")
    column: str = Field(description="A column of `sensitive`.")
    max_ratio: StrictFloat = Field(
        ge=1, description="Maximum rejected share of a group, as a multiple of the other groups' share."
    )
    min_records: StrictInt = Field(
        default=100, ge=1, description="A group with fewer records is not checked."
    )


Gate: TypeAlias = Annotated[
    NullsGate | RangeGate | ConstantGate | RowsGate | DriftGate | GroupRejectsGate,
    Field(discriminator="gate"),
]


def find_pinned_statistics(gates: Iterable[Gate]) -> dict[str, str]:
    """S3 URIs of the pinned statistics that drift gates compare with, each with the field that names it first, such as
    `gates[0].against`."""
    found: dict[str, str] = {}
    for position, gate in enumerate(gates):
        if isinstance(gate, DriftGate) and gate.against != PREVIOUS:
            found.setdefault(gate.against, f"gates[{position}].against")
    return found


def check_gates(
    gates: tuple[Gate, ...], *, prediction_types: Mapping[str, str], sensitive_columns: tuple[str, ...]
) -> None:
    """Raise ValueError for gates on unknown columns, or on columns of a type that they cannot check.

    `prediction_types` maps each prediction column to its type; `sensitive_columns` are the columns of `sensitive`.
    """
    for position, gate in enumerate(gates):
        where = f"gates[{position}].column"
        if isinstance(gate, GroupRejectsGate):
            check_name(gate.column, sensitive_columns, where, "the columns of sensitive")
        elif not isinstance(gate, RowsGate):
            check_name(gate.column, prediction_types, where, "the prediction columns")
            kind = prediction_types[gate.column]
            if kind == "json" or (isinstance(gate, RangeGate) and not is_number_type(kind)):
                raise FieldError(
                    where, f"{gate.column} has type {kind}, which a gate {gate.gate} cannot check"
                )
