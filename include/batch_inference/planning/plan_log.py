"""Collects, while a run is planned, the sentences that explain the plan, and who chose which field of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from batch_inference.common.formatting import conjugate_be, format_count
from batch_inference.config.sections.record_rules import FrozenModel
from batch_inference.planning.clusters.cluster_model import SizedStage


class PlanLogEntry(FrozenModel):
    """A sentence; `field` is the plan field that it explains, if one, `chosen_by` who chose that.

    `chosen_by` is `trigger form`, `pipeline` or `plan`.
    """

    text: str
    field: str | None = None
    chosen_by: str | None = None


@dataclass(slots=True)
class PlanLog:
    """The entries of a plan, in order."""

    entries: list[PlanLogEntry] = field(default_factory=list)

    def add(self, sentence: str) -> None:
        """Add a sentence that explains no single plan field."""
        self.entries.append(PlanLogEntry(text=sentence))

    def record(self, plan_field: str, chooser: str, sentence: str) -> None:
        """Record who chose `plan_field`, and add the sentence that explains it."""
        self.entries.append(PlanLogEntry(text=sentence, field=plan_field, chosen_by=chooser))

    def record_cluster(self, stage: SizedStage, *, unit: str, is_type_requested: bool, reason: str) -> None:
        """Record the instances of a stage. `reason` explains their number where the trigger form does not set it."""
        workload, instance_type = stage.workload, stage.option.instance_type
        chooser, why_count = "plan", reason
        limit = workload.work.max_parallelism
        maximum = f"there {conjugate_be(limit)} only {format_count(limit, unit)}"
        if workload.requested_instance_count is not None:
            chooser, why_count = "trigger form", f"the trigger form said {workload.requested_instance_count}"
            if stage.instance_count < workload.requested_instance_count:
                why_count += f", lowered because {maximum}"
        elif stage.instance_count == workload.work.max_parallelism < workload.max_instances:
            why_count += f", and {maximum}"
        type_clause = f"; the trigger form said {instance_type}" if is_type_requested else ""
        cluster = f"{stage.instance_count} × {instance_type}"
        sentence = f"{stage.name.capitalize()} uses {cluster}, because {why_count}{type_clause}."
        self.record(f"{stage.name}.instance_count", chooser, sentence)
