"""Rejects by rule and column with examples: complete counts, in bounded memory, without sensitive values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from batch_inference.jobs.preprocess.rejects import (
    MAX_EXAMPLES,
    MAX_EXCERPT,
    MAX_GROUPS,
    OTHER_COLUMNS,
    Reject,
    RejectSummary,
)
from batch_inference.verification.host_manifests import merge_host_manifests
from batch_inference.verification.rejects import sort_groups
from tests.unit.jobs.containers import columns, config, run_preprocess

COLUMNS = columns(id="string", age="integer", income="float")
RULES: list[dict[str, Any]] = [
    {"rule": "required", "columns": ["id"], "name": "id present"},
    {"rule": "range", "column": "age", "min": 18, "name": "adult"},
    {"rule": "duplicates", "key": ["id"], "name": "once"},
]
ROWS = ["a,20,1", "a,21,1", "b,17,1", "c,x,1", "d,30", ",40,1", "e,50,y", *(f"f{n},{n},1" for n in range(9))]


def test_a_host_counts_its_rejects_by_rule_and_column_with_five_examples(tmp_path: Path) -> None:
    ended = run_preprocess(
        tmp_path, config(COLUMNS, rules=RULES), {"in.csv": "".join(f"{row}\n" for row in ROWS).encode()}
    )
    assert ended.exit_code == 0, ended.stderr
    groups = {(group["rule"], group["column"]): group for group in ended.manifest["reject_groups"]}
    assert {key: group["records"] for key, group in groups.items()} == {
        ("once", "id"): 1, ("adult", "age"): 10, ("type", "age"): 1, ("type", "income"): 1, ("arity", ""): 1,
        ("id present", "id"): 1,
    }  # fmt: skip
    assert sum(group["records"] for group in groups.values()) == ended.manifest["rejected_count"]
    assert groups["adult", "age"]["examples"][0] == {
        "source": "s3://bucket/in/in.csv", "line": 3, "record": 3, "found": "17", "allowed": "at least 18",
        "text": "b,17,1",
    }  # fmt: skip
    assert [each["line"] for each in groups["adult", "age"]["examples"]] == [3, 8, 9, 10, 11]
    assert groups["id present", "id"]["examples"][0]["found"] == "empty"
    assert groups["arity", ""]["examples"][0]["allowed"] == "3, as the other records of the object have"
    reasons = {(line["rule"], line["column"]) for line in ended.rejects()}
    assert reasons == groups.keys()


def test_examples_have_nothing_of_a_sensitive_column(tmp_path: Path) -> None:
    """The rejects files have it all; who may read them in S3 is for AWS to say."""
    document = config(COLUMNS, rules=RULES, sensitive_columns=[{"column": "age", "edges": [30]}])
    content = "".join(f"{row}\n" for row in ROWS).encode()
    ended = run_preprocess(tmp_path, document, {"in.csv": content})
    groups = {(group["rule"], group["column"]): group for group in ended.manifest["reject_groups"]}
    assert {each["text"] for group in groups.values() for each in group["examples"]} == {None}
    assert {each["found"] for each in groups["adult", "age"]["examples"]} == {None}
    assert groups["type", "income"]["examples"][0]["found"] == "'y'"
    assert "17" not in json.dumps(ended.manifest["reject_groups"])
    assert any(line["text"] == "b,17,1" for line in ended.rejects())


def test_the_hosts_are_merged_with_the_first_examples_of_each(tmp_path: Path) -> None:
    hosts = ("algo-1", "algo-2")
    documents = []
    for number, host in enumerate(hosts):
        rows = "".join(f"{host}-{n},{n + number},1\n" for n in range(4))
        objects = {f"{host}.csv": rows.encode(), "other.csv": b"z,20,1\n"}
        ended = run_preprocess(
            tmp_path,
            config(COLUMNS, rules=RULES[:2], distribution="ShardedByS3Key"),
            {name: text for name, text in objects.items() if name != "other.csv" or number == 0},
            host=host,
            hosts=hosts,
        )
        assert ended.exit_code == 0, ended.stderr
        documents.append(ended.manifest)
    (group,) = merge_host_manifests(documents, host_count=2).reject_groups
    assert (group.rule, group.column, group.records) == ("adult", "age", 8)
    assert [example.source.rsplit("/", 1)[1] for example in group.examples] == ["algo-1.csv"] * 4 + [
        "algo-2.csv"
    ]


def test_groups_that_do_not_add_up_are_no_manifest(tmp_path: Path) -> None:
    ended = run_preprocess(tmp_path, config(COLUMNS, rules=RULES), {"in.csv": b"a,1,1\nb,2,2\n"})
    ended.manifest["reject_groups"][0]["records"] += 1
    with pytest.raises(Exception, match=r"rejected 2 records, but its groups of rejects have 3"):
        merge_host_manifests([ended.manifest], host_count=1)


def test_memory_is_flat_whatever_is_rejected() -> None:
    """A million rejects of a thousand columns and of long records take what the first of each group take."""
    summary = RejectSummary()
    for number in range(20_000):
        column = f"c{number % 1_000}"
        summary.add("s3://b/a", number, number, Reject("type", "x" * 1_000, "a number", column), "y" * 10_000)
    groups = summary.list_groups()
    assert len(groups) == MAX_GROUPS + 1
    assert sum(group["records"] for group in groups) == 20_000
    assert groups[-1]["column"] == OTHER_COLUMNS
    assert groups[-1]["examples"] == []
    assert {len(group["examples"]) for group in groups[:-1]} == {MAX_EXAMPLES}
    longest = max(
        len(each[key]) for group in groups for each in group["examples"] for key in ("found", "text")
    )
    assert longest == MAX_EXCERPT + 1, "with the ellipsis"
    assert len(json.dumps(groups)) < MAX_GROUPS * MAX_EXAMPLES * 1_000


def test_the_groups_of_many_hosts_take_no_more_than_those_of_one() -> None:
    """So that the report, which has them, stays one that a page reads."""
    lists = []
    for host in range(20):
        summary = RejectSummary()
        for number in range(150):
            column = f"{host}-{number}"
            for _ in range(6):
                summary.add("s3://b/a", 1, 1, Reject("type", "x" * 1_000, "a number", column), "y" * 10_000)
        lists.append(summary.list_groups())
    groups = sort_groups(lists)
    assert sum(group["records"] for group in groups) == 20 * 150 * 6
    assert (groups[0]["column"], len(groups)) == (OTHER_COLUMNS, MAX_GROUPS + 1)
    assert len(json.dumps(groups, indent=2)) < 400_000


def test_bytes_outside_of_the_encoding_are_shown_escaped() -> None:
    summary = RejectSummary()
    summary.add("s3://b/a", 1, 1, Reject("encoding", "byte 0xff"), "a\udcffb")
    (group,) = summary.list_groups()
    assert group["examples"][0]["text"] == "a\\udcffb"
    json.dumps(group).encode("utf-8")
