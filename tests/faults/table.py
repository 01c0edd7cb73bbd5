"""The fault matrix of the documentation; `python -m tests.faults.table` writes it from the cases."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tests.faults.case import Case
from tests.faults.cases import CASES
from tools.checkout import REPO

PAGE = REPO / "docs" / "reference" / "fault-matrix.md"
_TABLE = re.compile(r"(?<=<!-- faults -->\n\n).*?(?=\n<!-- /faults -->)", re.DOTALL)


def render_table(cases: Iterable[Case]) -> str:
    """One line for each case: the fault, how the run ends, and how many jobs are created for it in all."""
    lines = ["| fault | end of the run | jobs: preprocess, transform |", "|---|---|---|"]
    lines += [f"| {case.fault} | {case.ending} | {case.preprocess}, {case.transform} |" for case in cases]
    return "".join(f"{line}\n" for line in lines)


def replace_table(text: str) -> str:
    """`text` with the table between its marks as the cases have it now."""
    if len(_TABLE.findall(text)) != 1:
        raise ValueError("the page needs <!-- faults --> and <!-- /faults --> once")
    return _TABLE.sub(lambda _: render_table(CASES), text)


if __name__ == "__main__":
    PAGE.write_text(replace_table(PAGE.read_text()))
