"""What SageMaker's InputFilter and OutputFilter may look like; a wrong one is refused, or fails a job that runs."""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_FILTER = 63
#: The types whose records SageMaker can take apart, to filter them or to put input and answers together.
PROCESSED_TYPES = ("text/csv", "application/json", "application/jsonlines")
# What AWS names when it refuses a filter; letters and digits are allowed too, an underscore is not.
_FILTER = re.compile(r"[A-Za-z0-9$\[\]*. ,:'-]*")
# The operators that AWS's guide lists; a dot may stand before a bracket, names in brackets may hold spaces.
_STEP = r"""(?:
    \.(?:[A-Za-z0-9-]+|\*)
  | \.?\[[ ]*(?:
        \*
      | '[A-Za-z0-9 -]+'(?:[ ]*,[ ]*'[A-Za-z0-9 -]+')*
      | -?[0-9]+(?:[ ]*,[ ]*-?[0-9]+)*
      | (?:-?[0-9]+)?[ ]*:[ ]*(?:-?[0-9]+)?
    )[ ]*\]
)"""
_PATH = re.compile(rf"\${_STEP}*", re.VERBOSE)


def pairing_problem(
    what: str,
    *,
    content_type: str | None,
    accept: str | None,
    split_type: str | None,
    assemble_with: str | None,
) -> str | None:
    """Why SageMaker refuses DataProcessing, of which `what` is stated, between these types; None where it does not."""
    if content_type != accept or content_type not in PROCESSED_TYPES:
        return (
            f"{what} with ContentType {content_type} and Accept {accept}; SageMaker filters and joins only equal types "
            f"out of {', '.join(PROCESSED_TYPES)}; make them equal, or drop the filter and join outside"
        )
    if content_type == "text/csv" and not split_type == assemble_with == "Line":
        return (
            f"{what} on text/csv with SplitType {split_type} and AssembleWith {assemble_with}; SageMaker filters and "
            f"joins CSV line by line; write Line for both"
        )
    return None


def filter_problems(text: str) -> Iterator[str]:
    """What is wrong with a filter, a sentence for each: what was found, why it fails, what to write instead."""
    wrong = next((character for character in text if not _FILTER.fullmatch(character)), None)
    if not text.startswith("$"):
        yield f"found {text!r}; SageMaker takes a JsonPath, which begins with $; write such as $[1:] or $.features"
    if len(text) > MAX_FILTER:
        yield (
            f"found {len(text)} characters; SageMaker takes {MAX_FILTER}; keep or drop columns in the join instead"
        )
    if wrong is not None:
        yield (
            f"found {wrong!r} in {text!r}; SageMaker refuses it as 'Unexpected \"{wrong}\" in JsonPath'; "
            f"rename the field to letters and digits, or choose by position"
        )
    has_several_ranges = any(
        ":" in part and ("," in part or part.count(":") > 1) for part in re.findall(r"\[([^\]]*)\]", text)
    )
    if has_several_ranges:
        yield (
            f"found several ranges in {text!r}; only a single range such as [1:5] is "
            f"supported and the job would fail while it runs; write one range, or keep and drop columns in the join"
        )
    if text.startswith("$") and wrong is None and not has_several_ranges and not _PATH.fullmatch(text):
        yield (
            f"found {text!r}, which SageMaker refuses; a path is $, followed by .name, .*, [*], ['a','b'], [0,-1] "
            f"or [1:4]; write such as $[1:] or $.features"
        )
