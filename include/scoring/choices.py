"""Collects, while a plan is made, who chose what and the sentence that says so."""

from __future__ import annotations

from dataclasses import dataclass, field

from include.scoring.cluster import Sized, StageWork
from include.scoring.messages import count, is_or_are


@dataclass(slots=True)
class Choices:
    """Sentences in the order in which choices were made; `chosen_by` maps a field of the plan to who chose
    it: `trigger form`, `pipeline` or `plan`.
    """

    sentences: list[str] = field(default_factory=list)
    chosen_by: dict[str, str] = field(default_factory=dict)

    def note(self, sentence: str) -> None:
        """Add a sentence about no single choice."""
        self.sentences.append(sentence)

    def choose(self, name: str, who: str, sentence: str) -> None:
        """Record who chose the field `name`, and why."""
        self.chosen_by[name] = who
        self.sentences.append(sentence)

    def cluster(self, stage: StageWork, chosen: Sized, *, unit: str, typed_type: bool, reason: str) -> None:
        """Say which instances a stage got. `reason` is why these many, where no person typed the number."""
        name, kind = stage.name, chosen.option.instance_type
        self.chosen_by[f"{name}.instance_type"] = "trigger form" if typed_type else "pipeline"
        who, why = "plan", reason
        if stage.fixed is not None:
            who, why = "trigger form", f"the trigger form said {stage.fixed}"
            if chosen.count < stage.fixed:
                why += f", lowered because there {is_or_are(stage.units)} only {count(stage.units, unit)}"
        elif chosen.count == stage.units < stage.max_instances:
            why += f", and there {is_or_are(stage.units)} only {count(stage.units, unit)}"
        named = f"; the trigger form said {kind}" if typed_type else ""
        sentence = f"{name.capitalize()} uses {chosen.count} × {kind}, because {why}{named}."
        self.choose(f"{name}.instance_count", who, sentence)
