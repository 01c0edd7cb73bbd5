"""What a person is asked who must approve a run above its budget, and how long the question may stay open."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

#: However late it is: so long a person may answer.
SHORTEST = timedelta(minutes=1)
_UNTIL = "It waits until "


def approve_by(now: datetime, *, within_minutes: int, deadline: datetime | None, needs: float) -> datetime:
    """Until when a run may wait: `within_minutes`, and no longer than leaves it `needs` seconds before its deadline."""
    until = now + timedelta(minutes=within_minutes)
    if deadline is not None:
        until = min(until, deadline - timedelta(seconds=needs))
    return max(until, now + SHORTEST)


def question(plan: Mapping[str, Any]) -> str:
    """The plan as Markdown: why it needs approval, what it would use, and until when it waits."""
    by = datetime.fromisoformat(plan["approve_by"])
    lines = [
        f"**The run {plan['run_id']} is above its budget:** {plan['approval']}.",
        "",
        f"{_UNTIL}{by:%Y-%m-%d %H:%M} UTC; where it was cleared since, the task's log says how long.",
        "*Approve* starts it, *Reject* fails it. Nothing is spent yet.",
        "",
        *(f"- {sentence}" for sentence in plan["sentences"]),
    ]
    return "\n".join(lines)


def asks_the_same(first: str | None, second: str) -> bool:
    """Whether two questions are about the same plan, until whenever they wait."""
    return first is not None and _without_time(first) == _without_time(second)


def _without_time(question_text: str) -> list[str]:
    return [line for line in question_text.splitlines() if not line.startswith(_UNTIL)]
