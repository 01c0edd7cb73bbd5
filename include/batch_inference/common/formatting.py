"""Formats text for people: near names, lists of allowed values, counts, sizes, durations, dollars."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


def join_quoted(values: Iterable[object], *, conjunction: str = "or") -> str:
    """`'a', 'b' or 'c'`."""
    return join_words([repr(value) for value in values], conjunction=conjunction)


def join_words(words: Sequence[str], *, conjunction: str = "and") -> str:
    """`a, b and c`."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {conjunction} {words[-1]}"


def suggest_name(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the known name that is closest to `name`, or an empty text when none is close."""
    folded = {candidate.lower().replace("-", "_"): candidate for candidate in known}
    normalized = name.strip().lower().replace("-", "_").replace(" ", "_")
    # "instance_count" for "transform_instance_count": a part of a name is closer than its edit distance says.
    containing = (key for key in folded if normalized and (normalized in key or key in normalized))
    closest = next(iter(get_close_matches(normalized, folded, n=1, cutoff=0.5)), None) or next(
        containing, None
    )
    return "" if closest is None else f"; did you mean {folded[closest]!r}?"


def format_count(number: int, singular: str, plural: str | None = None) -> str:
    """`1 object`, `1,200 objects`."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def conjugate_be(number: int) -> str:
    """`is` for 1, `are` for all other numbers."""
    return "is" if number == 1 else "are"


def format_bytes(byte_count: float) -> str:
    """Bytes in decimal units: `812 B`, `1.2 MB`."""
    amount = float(byte_count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:,.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:,.1f} {unit}"
        amount /= 1000
    return f"{amount:,.1f} TB"


def format_duration(seconds: float) -> str:
    """`8.5 s`, `2 min 05 s`, `1 h 10 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def format_dollars(dollars: float | None) -> str:
    """`$0.0123`, `$12.40`, or `price unknown` for None."""
    if dollars is None:
        return "price unknown"
    if dollars == 0:
        return "$0.00"
    return f"${dollars:,.2f}" if dollars >= 1 else f"${dollars:.4f}"
