"""Collects, while a run is planned, who chose which field of the plan, and the sentence that explains it."""

from __future__ import annotations

from dataclasses import dataclass, field

from batch_inference.common.formatting import conjugate_be, format_count
from batch_inference.planning.clusters.cluster_model import SizedStage, StageWorkload


@dataclass(slots=True)
class PlanLog:
    """The sentences of a plan, in order; `chosen_by` maps a plan field to who chose it.

    That is `trigger form`, `pipeline` or `plan`.
    """

    sentences: list[str] = field(default_factory=list)
    chosen_by: dict[str, str] = field(default_factory=dict)

    def add(self, sentence: str) -> None:
        """Add a sentence that explains no single plan field."""
        self.sentences.append(sentence)

    def record(self, plan_field: str, chooser: str, sentence: str) -> None:
        """Record who chose `plan_field`, and add the sentence that explains it."""
        self.chosen_by[plan_field] = chooser
        self.sentences.append(sentence)

    def record_cluster(
        self,
        workload: StageWorkload,
        sized_stage: SizedStage,
        *,
        unit: str,
        is_type_requested: bool,
        reason: str,
    ) -> None:
        """Record the instances of a stage. `reason` explains their number where the trigger form does not set it."""
        stage_name, instance_type = workload.name, sized_stage.option.instance_type
        self.chosen_by[f"{stage_name}.instance_type"] = "trigger form" if is_type_requested else "pipeline"
        chooser, why_count = "plan", reason
        maximum = f"there {conjugate_be(workload.max_parallelism)} only {format_count(workload.max_parallelism, unit)}"
        if workload.requested_instance_count is not None:
            chooser, why_count = "trigger form", f"the trigger form said {workload.requested_instance_count}"
            if sized_stage.instance_count < workload.requested_instance_count:
                why_count += f", lowered because {maximum}"
        elif sized_stage.instance_count == workload.max_parallelism < workload.max_instances:
            why_count += f", and {maximum}"
        type_clause = f"; the trigger form said {instance_type}" if is_type_requested else ""
        cluster = f"{sized_stage.instance_count} × {instance_type}"
        sentence = f"{stage_name.capitalize()} uses {cluster}, because {why_count}{type_clause}."
        self.record(f"{stage_name}.instance_count", chooser, sentence)
