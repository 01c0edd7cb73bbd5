"""Formats text for people: near names, lists of allowed values, and every kind of number.

Each kind of number has one precision, wherever it is shown: pages, reports, plans, messages.
"""

from __future__ import annotations

import math
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


def format_range(low: str, high: str) -> str:
    """`3 to 5`, or one of them when both are the same text."""
    return low if low == high else f"{low} to {high}"


def format_number(number: float | None) -> str:
    """A measured number with four significant digits and without an exponent: `0.1235`, `12,346`; `–` for None.

    Numbers below 0.0001 or from 1e15 have an exponent.
    """
    if number is None:
        return "–"
    if not math.isfinite(number):
        return f"{number}"
    if abs(number) >= 1000 and abs(number) < 1e15:
        return f"{number:,.0f}"
    return f"{number:.4g}"


def format_cell(value: object) -> str:
    """A cell of data as a person reads it: numbers with six significant digits, and `–` for None.

    As in the data there is no separator of thousands, and an exponent only below 0.0001 and from 1e15.
    """
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.0f}" if 1e6 <= abs(value) < 1e15 else f"{value:.6g}"
    return str(value)


def format_share(share: float) -> str:
    """A share of 1 as a percentage: `0.02%`, `3.12%`, `12.3%`, `95%`, `100%`.

    It has at most two decimals below 10% and above 99%, else one. A share above 0 is never `0%`, and one below 1 is
    never `100%`.
    """
    if 0 < share < 0.0001:
        return "under 0.01%"
    if 0.9999 < share < 1:
        return "over 99.99%"
    decimals = 2 if abs(share) < 0.1 or 0.99 < share < 1 else 1
    text = f"{share * 100:,.{decimals}f}"
    return f"{text.rstrip('0').rstrip('.')}%"


def format_bytes(byte_count: float) -> str:
    """Bytes in decimal units: `812 B`, `1.2 MB`."""
    amount = float(byte_count)
    for unit in ("B", "kB", "MB", "GB"):
        text = f"{amount:,.0f}" if unit == "B" or amount >= 99.95 else f"{amount:,.1f}"
        if text != "1,000" and amount < 1000:
            return f"{text} {unit}"
        amount /= 1000
    return f"{amount:,.1f} TB"


def format_rate(bytes_per_second: float) -> str:
    """Bytes per second with three significant digits: `2 MB/s`, `0.197 MB/s`, `1,235 MB/s`."""
    rate = bytes_per_second / 1e6
    return f"{rate:,.0f} MB/s" if rate >= 1000 else f"{rate:.3g} MB/s"


def format_duration(seconds: float) -> str:
    """`8.5 s`, `2 min 05 s`, `1 h 10 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(whole / 60)
    return f"{minutes // 60:,} h {minutes % 60:02d} min"


def format_dollars(dollars: float | None) -> str:
    """`$0.0123`, `$12.40`, `-$0.0012`, or `price unknown` for None.

    Four decimals below a dollar, but two where these say it all (`$0.50`), and two from a dollar on. An amount that
    would read as nothing is `under $0.0001`.
    """
    if dollars is None:
        return "price unknown"
    if dollars == 0:
        return "$0.00"
    amount, sign = abs(dollars), "-" if dollars < 0 else ""
    if amount < 0.00005:
        return "under $0.0001" if dollars > 0 else "$0.00"
    return f"{sign}${amount:,.2f}" if amount >= 0.99995 else f"{sign}${amount:.4f}".removesuffix("00")


def format_extra_dollars(dollars: float | None) -> str:
    """A difference: `$0.0012 more`, `$0.0154 less`, or `price unknown` for None."""
    if dollars is None:
        return format_dollars(None)
    return f"{format_dollars(abs(dollars))} {'less' if dollars < 0 else 'more'}"


def format_unit_cost(dollars_per_1000: float) -> str:
    """The cost of records: `$0.32 per 1,000 records`, or per million or billion where 1,000 cost under a cent."""
    for factor, unit in ((1, "1,000 records"), (1e3, "million records")):
        if dollars_per_1000 * factor >= 0.01 or not dollars_per_1000:
            return f"{format_dollars(dollars_per_1000 * factor)} per {unit}"
    return f"{format_dollars(dollars_per_1000 * 1e6)} per billion records"
