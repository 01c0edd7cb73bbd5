"""Stored statistics of the columns, from an earlier run or from training: what outliers and gaps are judged by.

Never from tonight's records: a score would then depend on which other records happened to arrive.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Mapping

from include.jobs.errors import ConfigError
from include.jobs.fields import Fields
from include.jobs.input_config import Input, known_column

NUMBERS = ("mean", "std", "median", "q1", "q3")
STATISTICS = (*NUMBERS, "most_frequent")


@dataclass(frozen=True)
class Baseline:
    """By column the statistics that are known of it."""

    columns: Mapping[str, Mapping[str, float | str]] = field(default_factory=dict)

    def get(self, column: str, statistic: str, path: str) -> float | str:
        """Raises ConfigError, naming `path`, which needs it, when it is not known."""
        known = self.columns.get(column, {})
        if statistic not in known:
            raise ConfigError(
                f"{path} needs the {statistic} of {column}, but baseline.columns.{column} has "
                f"{', '.join(known) or 'nothing'}. It is not taken from this run's records: a score would then "
                "depend on which other records arrived"
            )
        return known[statistic]

    def number(self, column: str, statistic: str, path: str) -> float:
        return float(self.get(column, statistic, path))


def parse_baseline(top: Fields, source: Input) -> Baseline:
    if not top.has("baseline"):
        return Baseline()
    columns = Fields(top.get("baseline", dict), "baseline", ("columns",)).get("columns", dict)
    found: dict[str, dict[str, float | str]] = {}
    for name, value in columns.items():
        known_column(source, name, "baseline.columns")
        fields = Fields(value, f"baseline.columns.{name}", STATISTICS)
        found[name] = {which: fields.get(which, float) for which in NUMBERS if fields.has(which)}
        if fields.has("most_frequent"):
            found[name]["most_frequent"] = fields.get("most_frequent", str)
    return Baseline(found)
