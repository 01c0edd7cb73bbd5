"""Renders a plan and a report as text for a terminal, in at most 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from batch_inference.common.formatting import (
    format_cell,
    format_count,
    format_dollars,
    format_duration,
    format_extra_dollars,
    format_share,
    format_unit_cost,
    join_words,
)
from batch_inference.planning.model_version import format_model
from batch_inference.planning.plan import Plan
from batch_inference.pricing.price_source import describe_prices
from batch_inference.reporting.cost_comparison import describe_endpoint, describe_unsized
from batch_inference.verification.rejects import RejectGroup, describe_first_example

WIDTH = 80
_INDENT = 14
#: Groups of rejects of which an example is shown, the most frequent.
SHOWN_GROUPS = 3


def render_text(report: Mapping[str, Any]) -> str:
    """The report as lines of at most 80 characters, but for addresses, which are never broken.

    First what needs attention, then what was published, time and cost beside the plan's, then the details.
    """
    gates = report["quality"]["checks"]["gates"]
    lines = [f"{report['pipeline']} · {report['run_id']}", ""]
    for sentence in report["warnings"]:
        lines += _paragraph("warning", sentence)
    lines += _open_gates(gates)
    lines += _output(report["output"])
    lines += _records(report["records"], report["reject_details"])
    lines += _format_excluded(report["input"]["excluded"])
    lines += _format_passed_gates(gates)
    lines += _time_and_cost(report)
    lines += _field("model", format_model(report["model"]))
    lines.append("")
    for stage in report["stages"]:
        lines += _stage(stage, report["estimate"][stage["stage"]], report["plan_error"][stage["stage"]])
    for trial in report["trials"]:
        lines += _trial(trial)
    lines.append("")
    lines += _alternatives(report)
    if rows := report["first_rows"]:
        heading = "The first joined row" if len(rows) == 1 else f"The first {len(rows)} joined rows"
        lines += ["", f"{heading}:", *_table(rows)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def render_plan(plan: Plan) -> list[str]:
    """The estimate and the sentences of a plan, in at most 80 columns but for addresses."""
    summary = "nothing to score" if plan.empty else plan.estimate.describe()
    sentences = [sentence for sentence in plan.sentences if sentence != summary]
    if plan.unchanged_since is not None:
        sentences.insert(
            0, f"The run would skip its jobs: {plan.unchanged_since} published the same rows already."
        )
    return [
        *wrap(f"{plan.pipeline}: {summary}"),
        "",
        *(line for sentence in sentences for line in wrap(sentence, bullet="- ")),
    ]


def wrap(text: str, *, bullet: str = "") -> list[str]:
    """The text in lines of at most 80 characters; addresses are never broken."""
    return textwrap.wrap(
        text, WIDTH, initial_indent=bullet, subsequent_indent=" " * len(bullet),
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _output(output: Mapping[str, Any]) -> list[str]:
    published = f"{format_count(output['rows'], 'row')} in {format_count(output['files'], 'file')}"
    return _field("published", published, output["uri"])


def _format_excluded(excluded: Mapping[str, Any]) -> list[str]:
    """Objects that were listed and are not input."""
    control, unpublished = excluded["control_files"], excluded["unpublished"]
    found = [format_count(control, "control file")] if control else []
    found += [f"{format_count(unpublished, 'object')} that no manifest names"] if unpublished else []
    return _field("left out", join_words(found)) if found else []


def _open_gates(gates: Sequence[Mapping[str, Any]]) -> list[str]:
    """The gates that did not pass, each with its sentence."""
    return [
        line
        for gate in gates
        if gate["outcome"] != "passed"
        for line in _paragraph(gate["outcome"], gate["sentence"])
    ]


def _format_passed_gates(gates: Sequence[Mapping[str, Any]]) -> list[str]:
    passed = sum(gate["outcome"] == "passed" for gate in gates)
    return _field("gates", f"{passed} of {format_count(len(gates), 'gate')} passed") if gates else []


def _records(records: Mapping[str, Any], details: Mapping[str, Any]) -> list[str]:
    width = len(f"{records['in']:,}")
    counts = {"records in": records["in"], "scored": records["scored"], "rejected": records["rejected"]}
    lines = [line for name, number in counts.items() for line in _field(name, f"{number:>{width},}")]
    if not records["rejected"]:
        return lines
    lines[-1] += f"  ({format_share(records['rejected'] / records['in'])})"
    groups = details["groups"]
    reasons = [(", ".join(filter(None, (each["rule"], each["column"]))), each["records"]) for each in groups]
    for reason, number in reasons or records["rejected_by_reason"].items():
        lines.append(_indent(f"{number:>{width},}  {_truncate(reason, WIDTH - _INDENT - width - 2)}"))
    for group in groups[:SHOWN_GROUPS]:
        if sentence := describe_first_example([RejectGroup.model_validate(group)]):
            lines += _wrap(f"{sentence}.")
    return lines + [_indent(where) for where in details["prefixes"]]


def _time_and_cost(report: Mapping[str, Any]) -> list[str]:
    """Time and cost, each beside the plan's."""
    total, estimate = report["total"], report["estimate"]
    is_measured = all(report["estimate"][stage["stage"]]["runs"] for stage in report["stages"])
    word = "planned" if is_measured else "assumed"
    expected = (
        f"{word} {format_duration(estimate['seconds'])}, at most {format_duration(estimate['seconds_high'])}"
    )
    took = "unknown" if total["seconds"] is None else format_duration(total["seconds"])
    lines = _field("time", f"{took}; {expected}")
    cost = format_dollars(total["dollars"])
    if estimate["dollars"] is not None:
        cost += f"; {word} {format_dollars(estimate['dollars'])}"
        if estimate["dollars_high"] is not None:
            cost += f", at most {format_dollars(estimate['dollars_high'])}"
    lines += _field(
        "cost", cost, f"billed {format_duration(total['billed_seconds'])}, idle {_format_idle(total)}"
    )
    if total["dollars_per_1000_records"] is not None:
        lines.append(_indent(format_unit_cost(total["dollars_per_1000_records"])))
    for sentence in describe_prices(report["prices"]):
        lines += _wrap(sentence)
    return lines


def _stage(stage: Mapping[str, Any], planned: Mapping[str, Any], error: float | None) -> list[str]:
    lines = _field(
        stage["stage"],
        f"{stage['instance_count']} × {stage['instance_type']}, ran {format_duration(stage['running_seconds'])} "
        f"after {format_duration(stage['provisioning_seconds'])} of provisioning",
        f"billed {format_duration(stage['billed_seconds'])}, idle {_format_idle(stage)}, "
        f"{format_dollars(stage['dollars'])}",
        stage["job_name"],
    )
    if stage["earlier_billed_seconds"]:
        lines.append(
            _indent(f"of that {format_duration(stage['earlier_billed_seconds'])} in failed attempts")
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
    extra = f"{format_extra_dollars(trial['extra_dollars'])} than among the others"
    records = format_count(trial["records"], "record")
    return [
        *_paragraph("trial", trial["outcome"]),
        _indent(f"{records}, {extra}"),
        _indent(trial["job_name"]),
    ]


def _alternatives(report: Mapping[str, Any]) -> list[str]:
    """What an unsized run and an endpoint would cost."""
    return [
        line
        for name, sentences in (
            ("unsized", describe_unsized(report)),
            ("endpoint", describe_endpoint(report)),
        )
        for sentence in sentences
        for line in _paragraph(name, sentence)
    ]


def _paragraph(name: str, text: str) -> list[str]:
    """A field whose text is wrapped."""
    head, *rest = _split_lines(text, WIDTH - _INDENT) or [""]
    return _field(name, head, *rest)


def _wrap(text: str) -> list[str]:
    return [_indent(line) for line in _split_lines(text, WIDTH - _INDENT)]


def _split_lines(text: str, width: int) -> list[str]:
    """The lines of a text; an address is never broken."""
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


def _field(name: str, first: str, *more: str) -> list[str]:
    return [f"{name:<{_INDENT}}{first}", *map(_indent, more)]


def _indent(text: str) -> str:
    return " " * _INDENT + text


def _format_idle(figures: Mapping[str, Any]) -> str:
    if figures["idle_seconds"] is None:
        return "unknown"
    return f"{format_duration(figures['idle_seconds'])} ({format_share(figures['idle_share'] or 0)})"


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
    text = format_cell(value)
    return _truncate("".join(character if character.isprintable() else "·" for character in text), 28)


def _truncate(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(1, width - 1)] + "…"
