"""Checks SageMaker's InputFilter and OutputFilter, which AWS refuses late or which fail a running job."""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_FILTER_LENGTH = 63
#: Content types that SageMaker's DataProcessing can filter and join.
DATA_PROCESSING_TYPES = ("text/csv", "application/json", "application/jsonlines")
# The characters that AWS allows in a filter; an underscore is not among them.
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


def find_data_processing_problem(
    sentence_start: str,
    *,
    content_type: str | None,
    accept: str | None,
    split_type: str | None,
    assemble_with: str | None,
) -> str | None:
    """Why SageMaker refuses DataProcessing between these types, as a sentence with this start; or None."""
    if content_type != accept or content_type not in DATA_PROCESSING_TYPES:
        return (
            f"{sentence_start} with ContentType {content_type} and Accept {accept}; SageMaker filters and joins only "
            f"equal types out of {', '.join(DATA_PROCESSING_TYPES)}; make them equal, or drop the filter and join "
            f"outside"
        )
    if content_type == "text/csv" and not split_type == assemble_with == "Line":
        return (
            f"{sentence_start} on text/csv with SplitType {split_type} and AssembleWith {assemble_with}; SageMaker "
            "filters and joins CSV line by line; write Line for both"
        )
    return None


def find_filter_problems(text: str) -> Iterator[str]:
    """A sentence for each problem of a filter: value found, reason, what to write."""
    invalid = next((character for character in text if not _FILTER.fullmatch(character)), None)
    if not text.startswith("$"):
        yield f"found {text!r}; SageMaker takes a JsonPath, which begins with $; write such as $[1:] or $.features"
    if len(text) > MAX_FILTER_LENGTH:
        yield (
            f"found {len(text)} characters; SageMaker takes {MAX_FILTER_LENGTH}; keep or drop columns in the join "
            "instead"
        )
    if invalid is not None:
        yield (
            f"found {invalid!r} in {text!r}; SageMaker refuses it as 'Unexpected \"{invalid}\" in JsonPath'; "
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
    if text.startswith("$") and invalid is None and not has_several_ranges and not _PATH.fullmatch(text):
        yield (
            f"found {text!r}, which SageMaker refuses; a path is $, followed by .name, .*, [*], ['a','b'], [0,-1] "
            f"or [1:4]; write such as $[1:] or $.features"
        )
