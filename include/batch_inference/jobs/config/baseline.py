"""Reads the baseline: stored statistics of the columns, used for outlier rules and imputation.

They come from an earlier run or from training, never from the records of this run: a score would then depend on
which other records arrived.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Mapping

from batch_inference.jobs.common.errors import ConfigError
from batch_inference.jobs.config.fields import FieldReader
from batch_inference.jobs.config.input_config import InputConfig, require_column

NUMERIC_STATISTICS = ("mean", "std", "median", "q1", "q3")
STATISTICS = (*NUMERIC_STATISTICS, "most_frequent")


@dataclass(frozen=True)
class Baseline:
    """The stored statistics of each column."""

    columns: Mapping[str, Mapping[str, float | str]] = field(default_factory=dict)

    def get(self, column: str, statistic: str, config_path: str) -> float | str:
        """Get one statistic. Raises ConfigError that names `config_path`, the field that needs it, if it is missing."""
        known = self.columns.get(column, {})
        if statistic not in known:
            raise ConfigError(
                f"{config_path} needs the {statistic} of {column}, but baseline.columns.{column} has "
                f"{', '.join(known) or 'nothing'}. It is not taken from this run's records: a score would then "
                "depend on which other records arrived"
            )
        return known[statistic]

    def get_number(self, column: str, statistic: str, config_path: str) -> float:
        return float(self.get(column, statistic, config_path))


def parse_baseline(root: FieldReader, input_config: InputConfig) -> Baseline:
    if not root.has("baseline"):
        return Baseline()
    columns = FieldReader(root.get("baseline", dict), "baseline", ("columns",)).get("columns", dict)
    found: dict[str, dict[str, float | str]] = {}
    for name, value in columns.items():
        require_column(input_config, name, "baseline.columns")
        fields = FieldReader(value, f"baseline.columns.{name}", STATISTICS)
        found[name] = {which: fields.get(which, float) for which in NUMERIC_STATISTICS if fields.has(which)}
        if fields.has("most_frequent"):
            found[name]["most_frequent"] = fields.get("most_frequent", str)
    return Baseline(found)
