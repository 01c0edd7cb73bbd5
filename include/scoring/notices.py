"""Whom a pipeline tells about its runs, as its file states it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

from pydantic import Field, JsonValue, model_validator

from include.scoring.rules import Noun


class Notifier(Noun):
    """One of Airflow's notifiers, by its import path, and what it is constructed with."""

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


class Above(Noun):
    """Notifiers that speak when a figure of a finished run is above a limit."""

    above: float = Field(ge=0, description="The limit: a share of records such as 0.05, or dollars.")
    notifiers: tuple[Notifier, ...] = Field(min_length=1, description="Who is told.")


class NotifySection(Noun):
    """Whom to tell, and when."""

    on_failure: tuple[Notifier, ...] = Field(default=(), description="Told when a run ends as failed.")
    on_rejected: Above | None = Field(
        default=None, description="Told when a larger share of the records than this was rejected."
    )
    on_cost: Above | None = Field(
        default=None, description="Told when the jobs of a run cost more dollars than this."
    )

    @model_validator(mode="after")
    def _share_is_a_share(self) -> Self:
        if self.on_rejected is not None and self.on_rejected.above >= 1:
            raise ValueError(
                f"notify.on_rejected.above: found {self.on_rejected.above:g}; allowed is a share below 1, such as 0.05"
            )
        return self


def exceeded(notify: NotifySection, facts: dict[str, Any]) -> Iterator[tuple[str, Above]]:
    """What a finished run exceeded: a sentence, and who is told.

    `facts` are `records` ({"in", "rejected"}) and `dollars`, which is None where a price is unknown: an unknown cost
    exceeds nothing.
    """
    records, dollars = facts["records"], facts["dollars"]
    share = records["rejected"] / records["in"] if records["in"] else 0.0
    if notify.on_rejected is not None and share > notify.on_rejected.above:
        yield (
            (
                f"{records['rejected']:,} of {records['in']:,} records were rejected ({share:.2%}), above the "
                f"{notify.on_rejected.above:.2%} of notify.on_rejected"
            ),
            notify.on_rejected,
        )
    if notify.on_cost is not None and dollars is not None and dollars > notify.on_cost.above:
        yield (
            f"the jobs cost ${dollars:,.2f}, above the ${notify.on_cost.above:,.2f} of notify.on_cost",
            notify.on_cost,
        )
