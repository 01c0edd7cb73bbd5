"""Rejects by reason and column with examples: rejects.json, and what the run page and the report show of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from pydantic import ConfigDict, Field, StrictInt

from batch_inference.config.sections.record_rules import FrozenModel
from batch_inference.jobs.preprocess.rejects import MAX_GROUPS, OTHER_COLUMNS, merge_groups

#: From this share of rejected records on, a run has a warning.
WARNED_SHARE = 0.05
#: The most frequent groups of a run, which have examples.
EXAMPLE_GROUPS = 20
#: Name of the document below the prefix of the preprocessing job.
REJECTS_NAME = "rejects.json"


class RejectExample(FrozenModel):
    """One rejected record; `found` and `text` are None where they may hold a value of a sensitive column."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    source: str
    line: StrictInt
    record: StrictInt
    found: str | None
    allowed: str
    text: str | None


class RejectGroup(FrozenModel):
    """The rejects of one rule by one column, which is empty if it is the record as a whole."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    rule: str
    column: str
    records: StrictInt = Field(ge=1)
    examples: tuple[RejectExample, ...] = ()


class RejectsDocument(FrozenModel):
    """rejects.json: the rejects of one job, the most frequent first. `withheld_columns` are the sensitive ones."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: Literal[1] = 1
    records_in: StrictInt
    withheld_columns: tuple[str, ...] = ()
    reject_groups: tuple[RejectGroup, ...] = ()


def sort_groups(lists: Iterable[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Merge the groups of several hosts or jobs, each as `RejectGroup` in JSON; the most frequent first.

    Their size does not depend on the number of hosts: after MAX_GROUPS groups, columns are counted together, and after
    EXAMPLE_GROUPS groups there are no examples.
    """
    groups = sorted(merge_groups(lists), key=_sort_key)
    others = [{**group, "column": OTHER_COLUMNS, "examples": []} for group in groups[MAX_GROUPS:]]
    groups = sorted(merge_groups([groups[:MAX_GROUPS], others]), key=_sort_key)
    return [
        group if number < EXAMPLE_GROUPS else {**group, "examples": []} for number, group in enumerate(groups)
    ]


def _sort_key(group: Mapping[str, Any]) -> tuple[int, str, str]:
    return -group["records"], group["rule"], group["column"]


def list_resolutions(jobs: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The resolutions of the transform jobs that have one: of those whose model refused records."""
    return [job["resolution"] for job in jobs if job.get("resolution")]


def collect_reject_details(
    read_json: Callable[[str], Any], shard_stats: Mapping[str, Any], resolutions: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    """The rejects of a run: merged `groups`, `withheld_columns`, and the `prefixes` of the rejects files.

    `shard_stats` are the counts of `await_preprocess`, `resolutions` those of its transform jobs. `read_json` reads a
    URI; what it raises is raised. Values are JSON-safe. A run of an earlier version has no rejects.json, and no
    groups. A prefix is left out where no document beside it says which columns are withheld.
    """
    uri = shard_stats.get("reject_summary")
    document = RejectsDocument.model_validate(read_json(uri)) if uri else RejectsDocument(records_in=0)
    lists = [[group.model_dump(mode="json") for group in document.reject_groups]]
    prefixes = [f"{uri.removesuffix(REJECTS_NAME)}rejects/"] if uri and document.reject_groups else []
    withheld = dict.fromkeys(document.withheld_columns)
    for resolution in resolutions:
        if not resolution["rejects"]:
            continue
        refused = read_json(resolution["document"])
        lists.append(refused.get("reject_groups", []))
        withheld.update(dict.fromkeys(refused.get("withheld_columns", ())))
        if uri or "withheld_columns" in refused:
            prefixes.append(resolution["rejects"])
    return {
        "groups": sort_groups(lists),
        "withheld_columns": list(withheld),
        "prefixes": prefixes,
    }


def describe_first_example(groups: Sequence[RejectGroup]) -> str:
    """The first example of the most frequent group as a sentence; empty if there is none."""
    group = next((group for group in groups if group.examples), None)
    if group is None:
        return ""
    example = group.examples[0]
    found = "withheld, because the pipeline has sensitive columns" if example.found is None else example.found
    if group.column:
        found = f"{group.column} is {found}"
    allowed = f", allowed is {example.allowed}" if example.allowed else ""
    return f"For example, line {example.line:,} of {example.source}: {found}{allowed} ({group.rule})"


def is_share_warned(rejected: int, records_in: int) -> bool:
    """Whether so many rejected records are shown in a warning colour."""
    return rejected > 0 and rejected >= WARNED_SHARE * records_in
