"""Stores models in sqlite; a model can be deleted and its name used again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from local_aws.state.rows import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model: the CreateModel request, when (epoch seconds), and its ARN."""

    region: str
    name: str
    name_key: str
    arn: str
    request: dict[str, Any]
    created_at: float

    @property
    def containers(self) -> list[dict[str, Any]]:
        """Its container definitions in order, from PrimaryContainer or Containers."""
        primary = self.request.get("PrimaryContainer")
        return [primary] if primary else list(self.request.get("Containers", []))


class ModelTable(Table[Model]):
    """Reads and writes models."""

    table_name = "models"
    row_type = Model
