"""Defines the notifications of a pipeline: Airflow notifiers, and the limits that trigger them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Self

from pydantic import Field, JsonValue, StrictFloat, model_validator

from batch_inference.common.formatting import format_dollars, format_share
from batch_inference.config.sections.record_rules import FrozenModel
from batch_inference.config.validation_errors import FieldError


class Notifier(FrozenModel):
    """An Airflow notifier: its import path and its arguments."""

    notifier: str = Field(
        pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$",
        max_length=300,
        description="Import path of a subclass of Airflow's BaseNotifier.",
        examples=["airflow.providers.amazon.aws.notifications.sns.SnsNotifier"],
    )
    arguments: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="Its arguments. Those that it declares as templates may hold Jinja, such as {{ run_id }}. "
        "Name an Airflow connection where it needs a secret.",
    )


class ThresholdNotifiers(FrozenModel):
    """Notifiers that are called when a figure of a finished run is above a limit."""

    above: StrictFloat = Field(ge=0, description="The limit: a share of records such as 0.05, or dollars.")
    notifiers: tuple[Notifier, ...] = Field(min_length=1, description="Notifiers to call.")


class NotifySection(FrozenModel):
    """Notifiers by event."""

    on_failure: tuple[Notifier, ...] = Field(default=(), description="Called when a run fails.")
    on_late: tuple[Notifier, ...] = Field(
        default=(),
        description="Called once for a run that goes on when its goals.deadline passes, or that will miss it. Its "
        "templates have the sentence {{ late }}. The janitor DAG calls them, so it must be unpaused.",
    )
    on_rejected: ThresholdNotifiers | None = Field(
        default=None, description="Called when the rejected share of the records is above this limit."
    )
    on_cost: ThresholdNotifiers | None = Field(
        default=None, description="Called when the cost of the jobs is above this limit in dollars."
    )

    @model_validator(mode="after")
    def _share_is_a_share(self) -> Self:
        if self.on_rejected is not None and self.on_rejected.above >= 1:
            raise FieldError(
                "on_rejected.above",
                f"found {self.on_rejected.above:g}; allowed is a share below 1, such as 0.05",
            )
        return self


def describe_exceeded_limits(
    notify: NotifySection, run_summary: Mapping[str, Any]
) -> Iterator[tuple[str, ThresholdNotifiers]]:
    """For each limit that a finished run exceeded, a sentence and the notifiers.

    `run_summary` has `records` ({"in", "rejected"}) and `dollars`, None where a price is unknown: an unknown cost
    exceeds no limit.
    """
    records, dollars = run_summary["records"], run_summary["dollars"]
    share = records["rejected"] / records["in"] if records["in"] else 0.0
    if notify.on_rejected is not None and share > notify.on_rejected.above:
        yield (
            (
                f"{records['rejected']:,} of {records['in']:,} records were rejected ({format_share(share)}), "
                f"above the {format_share(notify.on_rejected.above)} of notify.on_rejected"
            ),
            notify.on_rejected,
        )
    if notify.on_cost is not None and dollars is not None and dollars > notify.on_cost.above:
        yield (
            (
                f"the jobs cost {format_dollars(dollars)}, "
                f"above the {format_dollars(notify.on_cost.above)} of notify.on_cost"
            ),
            notify.on_cost,
        )
