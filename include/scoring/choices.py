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

    def instance_type(self, stage: str, *, typed: str | None, default: str) -> str:
        """The instance type of a stage: what a person typed, else the pipeline's."""
        chosen, who = (typed, "trigger form") if typed else (default, "pipeline")
        why = "the trigger form said so" if typed else "the pipeline says so"
        self.choose(f"{stage}.instance_type", who, f"{stage.capitalize()} uses {chosen}, because {why}.")
        return chosen

    def instance_count(self, stage: str, *, typed: int | None, limit: int, units: int, unit: str) -> int:
        """Instances of a stage: what a person typed, else as many as the pipeline allows, and never more
        than units.

        A stage without units gets 0 instances, and nothing is said about it.
        """
        wanted = typed if typed is not None else limit
        chosen = min(wanted, units)
        if not units:
            return 0
        if typed is not None:
            who, why = "trigger form", f"the trigger form said {typed}"
            if chosen < typed:
                why += f", lowered because there {_be(units)} only {count(units, unit)}"
        else:
            who, why = "plan", f"the pipeline allows {limit} and there {_be(units)} {count(units, unit)}"
        self.choose(
            f"{stage}.instance_count",
            who,
            f"{stage.capitalize()} uses {count(chosen, 'instance')}, because {why}.",
        )
        return chosen


def _be(number: int) -> str:
    return "is" if number == 1 else "are"
