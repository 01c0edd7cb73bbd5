"""A file read with libyaml has the same values and lines as one that PyYAML's own parser reads."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from batch_inference.config.yaml_loader import _FastLoader, _load, _Loader, _RefusedError, read_yaml
from tests.unit.builders import EXAMPLE

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
DOCUMENTS = st.dictionaries(
    st.text(max_size=8),
    st.recursive(
        SCALARS, lambda each: st.lists(each, max_size=4) | st.dictionaries(st.text(max_size=8), each)
    ),
)


@given(DOCUMENTS, st.sampled_from([True, False, None]), st.sampled_from([None, "'", '"', "|", ">"]))
def test_both_parsers_read_what_is_dumped(document: Any, flow: bool | None, quotes: str | None) -> None:
    text = yaml.safe_dump(document, default_flow_style=flow, default_style=quotes, allow_unicode=True)
    assert _read(_FastLoader, text) == _read(_Loader, text)


@pytest.mark.parametrize(
    "text",
    [
        *(path.read_text() for path in sorted(EXAMPLE.parent.glob("*.yaml"))),
        "a: &x {b: 1, c: [2, 3]}\nd: *x\ne:\n  <<: *x\n  b: 0x1F\n",
        "# comment\n\na: |\n  one\n\n  two\nb: >-\n  three\n  four\n'c': \"\\u00e9\" # é\nN: 22:30\n",
        "%YAML 1.2\n---\n- - a\n  - ! b\n  - !!str 1\n- ~\n-\n- .5e3\n...\n",
    ],
)  # fmt: skip
def test_both_parsers_read_what_people_write(text: str) -> None:
    assert _read(_FastLoader, text) == _read(_Loader, text)


def test_a_valid_file_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    parse = Mock(side_effect=_load)
    monkeypatch.setattr("batch_inference.config.yaml_loader._load", parse)
    read_yaml(EXAMPLE)
    assert [type(each.args[0]) for each in parse.call_args_list] == [_FastLoader]


def _read(loader: type[_Loader], text: str) -> Any:
    """Value and lines; for a text that is refused, such as one with tags, the kind of error."""
    try:
        document = _load(loader(text))
    except (yaml.YAMLError, _RefusedError) as error:
        return type(error)
    return document.value, document.lines
