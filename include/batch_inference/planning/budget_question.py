"""Formats the question to the person who must approve a run above its budget, and limits how long it stays open."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

#: A person has at least this long to answer, however late it is.
MIN_WAIT = timedelta(minutes=1)
_WAIT_PREFIX = "It waits until "


def compute_approval_deadline(
    now: datetime, *, within_minutes: int, deadline: datetime | None, run_seconds: float
) -> datetime:
    """The end of the wait for approval: `within_minutes` from now, but `run_seconds` before the deadline."""
    until = now + timedelta(minutes=within_minutes)
    if deadline is not None:
        until = min(until, deadline - timedelta(seconds=run_seconds))
    return max(until, now + MIN_WAIT)


def format_question(plan: Mapping[str, Any]) -> str:
    """The question as Markdown: why the run needs approval, what it would use, and until when it waits."""
    by = datetime.fromisoformat(plan["approve_by"])
    lines = [
        f"**The run {plan['run_id']} is above its budget:** {plan['approval_reason']}.",
        "",
        f"{_WAIT_PREFIX}{by:%Y-%m-%d %H:%M} UTC; if the task was cleared since, its log has the new time.",
        "*Approve* starts it, *Reject* fails it. Nothing is spent yet.",
        "",
        *(f"- {entry['text']}" for entry in plan["log"]),
    ]
    return "\n".join(lines)


def is_same_question(first: str | None, second: str) -> bool:
    """Whether two questions are about the same plan, apart from how long they wait."""
    return first is not None and _without_time(first) == _without_time(second)


def _without_time(question_text: str) -> list[str]:
    return [line for line in question_text.splitlines() if not line.startswith(_WAIT_PREFIX)]
