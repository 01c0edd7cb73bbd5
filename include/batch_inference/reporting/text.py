"""Renders the report as text for a terminal, in at most 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from batch_inference.common.formatting import format_count, format_dollars, format_duration, join_words
from batch_inference.planning.model_version import format_model
from batch_inference.pricing.price_source import describe_prices

WIDTH = 80
_INDENT = 14


def render_text(report: Mapping[str, Any]) -> str:
    """The report as lines of at most 80 characters, but for addresses, which are never broken."""
    lines = [f"{report['pipeline']} · {report['run_id']}", ""]
    lines += _records(report["records"], report["rejects"], report["refused"])
    lines += _format_excluded(report["input"]["excluded"])
    lines += _gates(report["quality"]["checks"]["gates"])
    lines += _field("model", format_model(report["model"]))
    lines.append("")
    for stage in report["stages"]:
        lines += _stage(stage, report["estimate"][stage["stage"]], report["plan_error"][stage["stage"]])
    for trial in report["trials"]:
        lines += _trial(trial)
    lines += _total(report["total"], report["prices"])
    lines += _format_alternatives(report["comparison"])
    lines.append("")
    output = report["output"]
    lines += _field(
        "output",
        f"{format_count(output['rows'], 'row')} in {format_count(output['files'], 'file')}",
        output["uri"],
    )
    if rows := report["first_rows"]:
        lines += ["", f"First {format_count(len(rows), 'joined row')}:", *_table(rows)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _format_excluded(excluded: Mapping[str, Any]) -> list[str]:
    """Objects that were listed and are not input."""
    control, unpublished = excluded["control_files"], excluded["unpublished"]
    found = [format_count(control, "control file")] if control else []
    found += [f"{format_count(unpublished, 'object')} that no manifest names"] if unpublished else []
    return _field("left out", join_words(found)) if found else []


def _gates(gates: Sequence[Mapping[str, Any]]) -> list[str]:
    """The number of gates that passed, and the sentences of the others."""
    if not gates:
        return []
    passed = sum(gate["outcome"] == "passed" for gate in gates)
    lines = _field("gates", f"{passed} of {format_count(len(gates), 'gate')} passed")
    for gate in gates:
        if gate["outcome"] != "passed":
            lines += _wrap(f"{gate['outcome']}: {gate['sentence']}")
    return lines


def _records(records: Mapping[str, Any], rejects: str, refused: str | None) -> list[str]:
    reasons: Mapping[str, int] = records["rejected_by_reason"]
    width = len(f"{records['in']:,}")
    counts = {"records in": records["in"], "scored": records["scored"], "rejected": records["rejected"]}
    lines = [line for name, number in counts.items() for line in _field(name, f"{number:>{width},}")]
    lines += [
        _indent(f"{number:>{width},}  {_truncate(reason, WIDTH - _INDENT - width - 2)}")
        for reason, number in reasons.items()
    ]
    if records["rejected"]:
        lines += [_indent(where) for where in (rejects, refused) if where]
    return lines


def _stage(stage: Mapping[str, Any], planned: Mapping[str, Any], error: float | None) -> list[str]:
    lines = _field(
        stage["stage"],
        f"{stage['instance_count']} × {stage['instance_type']}, ran {format_duration(stage['running_seconds'])} "
        f"after {format_duration(stage['provisioning_seconds'])} of provisioning",
        f"billed {_format_seconds(stage['billed_seconds'])}, idle {_format_idle(stage)}, "
        f"{format_dollars(stage['dollars'])}",
        stage["job_name"],
    )
    if stage["earlier_billed_seconds"]:
        lines.append(
            _indent(f"of that {_format_seconds(stage['earlier_billed_seconds'])} in failed attempts")
        )
    planned_range = (
        f"{format_duration(planned['seconds'])}, at most {format_duration(planned['seconds_high'])}"
    )
    if error is not None:
        lines.append(_indent(f"the plan said {planned_range}, off by {error:+.0%}"))
    elif not planned["runs"]:
        lines += _wrap(
            f"the plan assumed {planned_range}, since no run was measured before; the next one uses this run"
        )
    for reason in stage["why"]:
        lines += _wrap(reason)
    return lines


def _trial(trial: Mapping[str, Any]) -> list[str]:
    head, *rest = textwrap.wrap(trial["outcome"], WIDTH - _INDENT)
    extra = f"{format_dollars(trial['extra_dollars'])} more than among the others"
    return _field(
        "trial", head, *rest, f"{format_count(trial['records'], 'record')}, {extra}", trial["job_name"]
    )


def _wrap(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=" " * _INDENT, subsequent_indent=" " * _INDENT)


def _total(figures: Mapping[str, Any], prices: Mapping[str, Any]) -> list[str]:
    duration_phrase = "" if figures["seconds"] is None else f" over {format_duration(figures['seconds'])}"
    lines = _field(
        "in all",
        f"billed {_format_seconds(figures['billed_seconds'])}{duration_phrase}, idle {_format_idle(figures)}, "
        f"{format_dollars(figures['dollars'])}",
    )
    per_1000 = figures["dollars_per_1000_records"]
    if per_1000 is not None:
        lines.append(_indent(f"${per_1000:.6f} per 1,000 records"))
    for sentence in describe_prices(prices):
        lines += _wrap(sentence)
    return lines


def _format_alternatives(comparison: Mapping[str, Any]) -> list[str]:
    naive, endpoint = comparison["naive"], comparison["endpoint"]
    lines = []
    if naive["billed_seconds"] is not None:
        lines += _field(
            "unsized",
            f"{format_count(naive['instance_count'], 'instance')} on the unsplit input would be billed "
            f"{_format_seconds(naive['billed_seconds'])}",
            f"to transform: {format_dollars(naive['dollars'])}",
        )
    if endpoint["breakeven_records_per_day"] is not None:
        lines += _field(
            "endpoint",
            f"one that is always on costs {format_dollars(endpoint['dollars_per_day'])} a day: less than runs above",
            f"{endpoint['breakeven_records_per_day']:,} records a day",
        )
    return lines


def _field(name: str, first: str, *more: str) -> list[str]:
    return [f"{name:<{_INDENT}}{first}", *map(_indent, more)]


def _indent(text: str) -> str:
    return " " * _INDENT + text


def _format_seconds(number: float) -> str:
    return f"{number:,.1f} s"


def _format_idle(stage: Mapping[str, Any]) -> str:
    if stage["idle_seconds"] is None:
        return "unknown"
    return f"{_format_seconds(stage['idle_seconds'])} ({stage['idle_share'] or 0:.0%})"


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Rows as an aligned table; where it is too wide, columns in the middle are left out."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: [_cell(name), *(_cell(row.get(name)) for row in rows)] for name in names}
    shown = _fit_columns({name: max(map(len, cells)) for name, cells in columns.items()})
    columns["…"] = ["…"] * (len(rows) + 1)
    aligned = []
    for name in shown:
        width = max(map(len, columns[name]))
        is_numeric = any(isinstance(row.get(name), int | float) for row in rows)
        aligned.append([cell.rjust(width) if is_numeric else cell.ljust(width) for cell in columns[name]])
    return [_truncate("  " + "  ".join(cells), WIDTH) for cells in zip(*aligned, strict=True)]


def _fit_columns(widths: Mapping[str, int]) -> list[str]:
    """The names of the columns that fit, with `…` in place of those in the middle that do not."""
    names = list(widths)
    if sum(widths.values()) + 2 * len(names) <= WIDTH:
        return names
    # The last column is the prediction: it is taken first, then from both ends in turn.
    in_turn = [name for pair in zip(reversed(names), names, strict=True) for name in pair]
    room = WIDTH - 5  # less the ellipsis and its gap
    ends = accumulate(widths[name] + 2 for name in in_turn)
    count = max(1, sum(end <= room for end in ends))
    return [*names[: count // 2], "…", *names[len(names) - (count + 1) // 2 :]]


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return _truncate("".join(character if character.isprintable() else "·" for character in text), 28)


def _truncate(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(1, width - 1)] + "…"
