"""The lists in a browser: what needs a look comes first, and one click leads to the reason."""

from __future__ import annotations

import pytest

from tests.browser.pages_server import *  # noqa: F403
from tests.browser.pages_server import NARROW, OpenPage, text_of
from tests.browser.pipelines_of_teams import list_dag_ids

pytestmark = pytest.mark.usefixtures("teams")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", NARROW)])
def test_the_list_of_pipelines_can_be_read_by_everybody(open_page: OpenPage, scheme: str, width: int) -> None:
    window = open_page(scheme=scheme, width=width)
    window.save_screenshot(f"list-{width}", whole=True)
    assert window.violations() == []
    text = text_of(window)
    assert [dag_id for dag_id in list_dag_ids() if dag_id not in text] in ([], ["ops.meter"])
