"""Collects, while a plan is made, who chose what and the sentence that says so."""

from __future__ import annotations

from dataclasses import dataclass, field

from include.scoring.messages import count


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

    def cluster(
        self,
        stage: str,
        *,
        typed_type: str | None,
        type_: str,
        typed: int | None,
        limit: int,
        units: int,
        unit: str,
    ) -> tuple[str, int]:
        """Type and number of a stage's instances: what a person typed, else what the pipeline allows.

        There are never more instances than units of work. A stage without units gets 0, and nothing is said.
        """
        kind = typed_type or type_
        wanted = typed if typed is not None else limit
        chosen = min(wanted, units)
        if not units:
            return kind, 0
        self.chosen_by[f"{stage}.instance_type"] = "trigger form" if typed_type else "pipeline"
        if typed is not None:
            who, why = "trigger form", f"the trigger form said {typed}"
            if chosen < typed:
                why += f", lowered because there {_be(units)} only {count(units, unit)}"
        else:
            who, why = "plan", f"the pipeline allows {limit} and there {_be(units)} {count(units, unit)}"
        named = f"; the trigger form said {kind}" if typed_type else ""
        sentence = f"{stage.capitalize()} uses {chosen} × {kind}, because {why}{named}."
        self.choose(f"{stage}.instance_count", who, sentence)
        return kind, chosen


def _be(number: int) -> str:
    return "is" if number == 1 else "are"
