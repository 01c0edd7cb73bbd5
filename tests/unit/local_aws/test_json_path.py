"""The paths of DataProcessing: one grammar for the API and the runner, and the project's own check accepts the same."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from batch_inference.config.sections.filters import find_filter_problems
from local_aws.json_path import PathSyntaxError, SeveralRanges, parse_path
from local_aws.runner.transform.selection import FilterError, JsonPath

# The examples of AWS's guide, "Associate Prediction Results with Input Records", with what they select.
RECORD = {
    "id": {"a": 1, "b": [2, 3]},
    "SageMakerOutput": 0.5,
    "field1": {"child1": 1, "child2": 2, "child3": 3},
}
ROW = [10, 11, 12, 13, 14, 15, 16]
GUIDE: list[tuple[str, Any, Any]] = [
    ("$", RECORD, RECORD),
    ("$.id", RECORD, {"a": 1, "b": [2, 3]}),
    ("$.id.*", RECORD, [1, [2, 3]]),
    ("$['id','SageMakerOutput']", RECORD, {"id": {"a": 1, "b": [2, 3]}, "SageMakerOutput": 0.5}),
    ("$.field1.['child1','child2']", RECORD, {"child1": 1, "child2": 2}),
    ("$[1]", ROW, 11),
    ("$[1,3,5]", ROW, [11, 13, 15]),
    ("$[-1]", ROW, 16),
    ("$[2:5]", ROW, [12, 13, 14, 15]),
    ("$[:5]", ROW, [10, 11, 12, 13, 14, 15]),
    ("$[2:]", ROW, [12, 13, 14, 15, 16]),
]

# Independent of the code under test: steps as plain tuples, their text with any spacing, what they select.
names = st.text("ab1-", min_size=1, max_size=2)
quoted = st.text("ab1 -", min_size=1, max_size=2)
numbers = st.integers(-3, 3)
gaps = st.sampled_from(["", "", " ", "  "])
Step = tuple[Any, ...]


@st.composite
def steps(draw: st.DrawFn) -> tuple[Step, str]:
    """A step and one way to write it."""
    dot = draw(st.sampled_from(["", "."]))
    gap = lambda text: draw(gaps) + text + draw(gaps)  # noqa: E731
    match draw(st.sampled_from(["dot", "every", "every in brackets", "names", "indexes", "range"])):
        case "dot":
            name = draw(names)
            return ("names", [name]), f".{name}"
        case "every":
            return ("every",), ".*"
        case "every in brackets":
            return ("every",), f"{dot}[{gap('*')}]"
        case "names":
            chosen = draw(st.lists(quoted, min_size=1, max_size=3))
            return ("names", chosen), f"{dot}[" + ",".join(gap(f"'{name}'") for name in chosen) + "]"
        case "indexes":
            chosen_numbers = draw(st.lists(numbers, min_size=1, max_size=3))
            return ("indexes", chosen_numbers), f"{dot}[" + ",".join(
                gap(str(n)) for n in chosen_numbers
            ) + "]"
        case _:
            begin, end = draw(st.none() | numbers), draw(st.none() | numbers)
            shown = ["" if bound is None else str(bound) for bound in (begin, end)]
            return ("range", begin, end), f"{dot}[{gap(shown[0])}:{gap(shown[1])}]"


values = st.recursive(
    st.integers(0, 9),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["a", "b", "1", "a ", "-"]), inner, max_size=4)
    ),
    max_leaves=12,
)


class NothingThereError(Exception):
    """The oracle's word for what the record does not have."""


def select(value: Any, path: list[Step], *, inclusive: bool) -> tuple[list[Any], bool]:
    """The oracle: everything that `path` finds from `value` on, and whether that is a list of values."""
    if not path:
        return [value], False
    step, rest = path[0], path[1:]
    try:
        match step:
            case ("names", [name]):
                found, many = [value[name] if isinstance(value, dict) else {}[name]], False
            case ("names", chosen):
                found, many = (
                    [{name: value[name] if isinstance(value, dict) else {}[name] for name in chosen}],
                    False,
                )
            case ("every",):
                found, many = list(value.values() if isinstance(value, dict) else array_of(value)), True
            case ("indexes", chosen):
                found, many = [array_of(value)[number] for number in chosen], len(chosen) > 1
            case (_, begin, end):
                found, many = in_range(array_of(value), begin, end, inclusive=inclusive), True
    except LookupError as error:
        raise NothingThereError from error
    below = [select(item, rest, inclusive=inclusive) for item in found]
    return [item for items, _ in below for item in items], many or has_many(rest)


def has_many(path: list[Step]) -> bool:
    return any(step[0] in ("every", "range") or (step[0] == "indexes" and len(step[1]) > 1) for step in path)


def array_of(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise NothingThereError
    return value


def in_range(array: list[Any], begin: int | None, end: int | None, *, inclusive: bool) -> list[Any]:
    """By looking at each position, so not by a slice."""
    size = len(array)
    first = 0 if begin is None else begin % size if size and -size <= begin < 0 else begin
    last = size if end is None else (end + size if end < 0 else end)
    found = [
        item
        for at, item in enumerate(array)
        if at >= first and (at < last or (inclusive and end is not None and at == last))
    ]
    if not found:
        raise NothingThereError
    return found


@pytest.mark.parametrize(("path", "value", "expected"), GUIDE)
def test_what_the_guide_lists_is_selected(path: str, value: Any, expected: Any) -> None:
    """The guide's ranges include their end."""
    assert JsonPath(path, inclusive_end=True).apply(value) == expected
    assert list(find_filter_problems(path)) == []


@settings(max_examples=150, derandomize=True)
@given(path=st.lists(steps(), max_size=3), value=values, inclusive=st.booleans())
def test_any_path_selects_what_a_plain_look_finds(
    path: list[tuple[Step, str]], value: Any, inclusive: bool
) -> None:
    text = "$" + "".join(written for _, written in path)
    parsed = JsonPath(text, inclusive_end=inclusive)
    try:
        found, many = select(value, [step for step, _ in path], inclusive=inclusive)
    except NothingThereError:
        with pytest.raises(FilterError, match=re.escape(text)):
            parsed.apply(value)
        return
    assert json.dumps(parsed.apply(value)) == json.dumps(found if many else found[0])


@settings(max_examples=150, derandomize=True)
@given(
    path=st.lists(steps(), max_size=2),
    at=st.integers(0, 20),
    length=st.integers(0, 1),
    change=st.text("$[]*. ,:-'a1_\"é\n", max_size=2),
)
@example(path=[(("every",), ".*")], at=1, length=0, change=".")
def test_the_projects_check_accepts_what_the_embedded_aws_accepts(
    path: list[tuple[Step, str]], at: int, length: int, change: str
) -> None:
    """Good paths and paths with a slip; several ranges are refused by the first alone, since their job would fail."""
    text = "$" + "".join(written for _, written in path)
    text = text[:at] + change + text[at + length :]
    try:
        parsed = parse_path(text)
    except PathSyntaxError:
        accepted = False
    else:
        accepted = not any(isinstance(step, SeveralRanges) for step in parsed)
    assert (list(find_filter_problems(text)) == []) == (accepted and len(text) <= 63), text


@pytest.mark.parametrize(
    ("path", "found", "position"),
    [
        ("$['account_id']", "_", 11),
        ("$.a[0", "", 6),
        ("$.a b", " ", 4),
        ("$['a.b']", ".", 5),
        ("$[1,'a']", "'", 5),
    ],
)
def test_the_first_character_that_does_not_fit_is_named(path: str, found: str, position: int) -> None:
    with pytest.raises(PathSyntaxError) as caught:
        parse_path(path)
    assert (caught.value.found, caught.value.position) == (found, position)
