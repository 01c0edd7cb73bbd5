"""Which of the input's columns a pipeline publishes, and how it calls them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from batch_inference.requests.sagemaker import build_join_spec
from tests.unit.builders import pipeline

NAMES = ("id", "age", "label")


def kept(**join: Any) -> dict[str, str]:
    """What the join is told to publish, by the input's names."""
    changes = {f"join.{key}": value for key, value in join.items()}
    return {each["column"]: each["name"] for each in build_join_spec(pipeline(changes))["keep"]}


def test_without_a_word_all_columns_are_published_as_they_are() -> None:
    """In the order of the input."""
    assert kept() == {name: name for name in NAMES}


def test_columns_are_included_in_the_order_of_the_list_or_excluded_and_renamed() -> None:
    """Either way."""
    assert kept(include_columns=["label", "age"]) == {"label": "label", "age": "age"}
    assert list(kept(exclude_columns=["age"])) == ["id", "label"]
    assert kept(include_columns=["age"], rename={"age": "kind"}) == {"age": "kind"}


@pytest.mark.parametrize(
    ("join", "message"),
    [
        ({"include_columns": ["agee"]}, "join.include_columns: found 'agee'.*did you mean 'age'"),
        ({"exclude_columns": ["labe"]}, "join.exclude_columns: found 'labe'"),
        ({"include_columns": []}, "one or more, each once"),
        (
            {"include_columns": ["age"], "exclude_columns": ["age"]},
            "'age' in include_columns and in exclude_columns",
        ),
        ({"exclude_columns": ["age"], "rename": {"age": "kind"}}, "'age', which is not published"),
        ({"rename": {"age": "id"}}, "would have the column 'id' twice"),
        ({"rename": {"age": "churn"}}, "would have the column 'churn' twice"),
        ({"function": {"module": "../os", "name": "system"}}, "pattern"),
        (
            {"function": {"module": "mine", "name": "f", "adds": {"age": "string"}}},
            "would have the column 'age' twice",
        ),
        (
            {
                "exclude_columns": ["age"],
                "function": {"module": "mine", "name": "f", "adds": {"age": "string"}},
            },
            "join.function.adds: found 'age', a column of the input, which the function receives",
        ),
    ],
)
def test_columns_that_cannot_be_published_so_are_refused(join: dict[str, Any], message: str) -> None:
    """With what was found and what is allowed."""
    with pytest.raises(ValidationError, match=message):
        kept(**join)
