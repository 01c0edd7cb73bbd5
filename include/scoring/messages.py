"""Words for people: nearest names, lists of what is allowed, sizes and durations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` was probably meant to be, or None when none is near."""
    candidates = list(known)
    folded = {candidate.lower().replace("-", "_"): candidate for candidate in candidates}
    wanted = name.strip().lower().replace("-", "_").replace(" ", "_")
    if wanted in folded:
        return folded[wanted]
    close = get_close_matches(wanted, list(folded), n=1, cutoff=0.5)
    if close:
        return folded[close[0]]
    # "instance_count" for "transform_instance_count": a part of a name is nearer than its spelling suggests.
    holding = [candidate for key, candidate in folded.items() if wanted and (wanted in key or key in wanted)]
    return holding[0] if holding else None


def one_of(values: Iterable[object], *, last: str = "or") -> str:
    """`'a', 'b' or 'c'`."""
    return listed([repr(value) for value in values], last=last)


def listed(words: Sequence[str], *, last: str = "and") -> str:
    """`a, b and c`."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """`; did you mean 'x'?`, or an empty text."""
    found = nearest(name, known)
    return f"; did you mean {found!r}?" if found else ""


def count(number: int, singular: str, plural: str | None = None) -> str:
    """`1 object`, `1,200 objects`."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def is_or_are(number: int) -> str:
    """The verb for so many."""
    return "is" if number == 1 else "are"


def size(number: float) -> str:
    """Bytes in decimal units: `812 B`, `1.2 MB`."""
    amount = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:,.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:,.1f} {unit}"
        amount /= 1000
    return f"{amount:,.1f} TB"


def duration(seconds: float) -> str:
    """`8.5 s`, `2 min 05 s`, `1 h 10 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def money(dollars: float | None) -> str:
    """`$0.0123`, `$12.40`, or `price unknown`: an unknown price is never guessed."""
    if dollars is None:
        return "price unknown"
    if dollars == 0:
        return "$0.00"
    return f"${dollars:,.2f}" if dollars >= 1 else f"${dollars:.4f}"
