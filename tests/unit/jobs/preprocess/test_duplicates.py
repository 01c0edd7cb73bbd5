"""Which of the records of one key stays."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from batch_inference.jobs.common.container import Container
from batch_inference.jobs.config.preprocess_config import parse_config
from batch_inference.jobs.preprocess import duplicates
from batch_inference.jobs.preprocess.preprocess_job import preprocess
from tests.unit.jobs.containers import columns, config, put, run_preprocess

ABC = columns(id="string", mail="string", x="float")
SMALL = {"name": "small", "rule": "range", "column": "x", "max": 5}
ONCE = {"name": "once", "rule": "duplicates", "key": ["id"]}
MAIL = {"name": "mail", "rule": "duplicates", "key": ["mail"]}
KNOWN = {"name": "known", "rule": "allowed", "column": "mail", "values": ["m", "n", "o", "p"]}
WHOLE = {"name": "whole", "rule": "duplicates"}


@pytest.mark.parametrize(
    ("rules", "kept", "rejected"),
    [
        ([SMALL, ONCE], b"b,n,1\na,n,2\n", [(1, "small"), (1, "type"), (3, "once")]),
        ([ONCE, SMALL], b"b,n,1\n", [(1, "small"), (1, "type"), (2, "once"), (3, "once")]),
    ],
)
def test_a_record_that_was_rejected_before_does_not_count(
    tmp_path: Path, rules: list[dict[str, Any]], kept: bytes, rejected: list[tuple[int, str]]
) -> None:
    """The first that passed the rules before stays; what a later rule refuses counts, as the file's order says."""
    objects = {"a.csv": b"a,m,9\nb,n,1\n", "b.csv": b"b,n,two\na,n,2\na,n,3\n"}
    ended = run_preprocess(tmp_path, config(ABC, rules=rules), objects)
    assert sorted((one["record"], one["rule"]) for one in ended.rejects()) == sorted(rejected)
    assert b"".join(ended.records()) == kept


def naively(lines: Sequence[str], rules: Sequence[dict[str, Any]]) -> list[str]:
    """The lines that pass, one after the other."""
    seen: dict[str, set[tuple[str, ...]]] = {rule["name"]: set() for rule in rules}

    def passes(line: str) -> bool:
        name, mail, x = line.split(",")
        if x == "two":
            return False
        for rule in rules:
            if rule is SMALL and float(x) > 5:
                return False
            if rule is KNOWN and mail not in KNOWN["values"]:
                return False
            if rule["rule"] == "duplicates":
                key = {"once": (name,), "mail": (mail,), "whole": (name, mail, x)}[rule["name"]]
                if key in seen[rule["name"]]:
                    return False
                seen[rule["name"]].add(key)
        return True

    return [line for line in lines if passes(line)]


@pytest.mark.parametrize("in_memory", [1 << 20, 50])
@pytest.mark.parametrize("hosts", [("algo-1",), ("algo-1", "algo-2")])
@pytest.mark.parametrize(
    "rules",
    [
        [SMALL, ONCE], [ONCE, SMALL], [SMALL, WHOLE], [WHOLE, ONCE], [ONCE, WHOLE], [SMALL, ONCE, KNOWN, MAIL],
        [KNOWN, ONCE, SMALL, MAIL], [MAIL, SMALL, ONCE, WHOLE],
    ],
    ids=lambda rules: " ".join(rule["name"] for rule in rules),
)  # fmt: skip
def test_rules_and_duplicates_come_out_as_one_record_after_the_other(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rules: list[dict[str, Any]],
    hosts: tuple[str, ...],
    in_memory: int,
) -> None:
    """Over all objects and hosts, in memory or spread over files."""
    monkeypatch.setattr(duplicates, "_IN_MEMORY", in_memory)
    rng = random.Random(3)
    lines = [
        f"{rng.randrange(90)},{rng.choice('mnopqr') * rng.randrange(1, 3)},{rng.choice([1, 2, 3, 5.5, 7, 'two'])}"
        for _ in range(600)
    ]
    objects = {
        f"{at}.csv": "".join(f"{line}\n" for line in lines[at * 200 :][:200]).encode() for at in range(3)
    }
    put(tmp_path / "processing" / "input" / "data", objects)
    found = []
    for host in hosts:
        container = Container(tmp_path, host, hosts)
        manifest = preprocess(container, parse_config(config(ABC, rules=rules)))
        for shard in manifest["shards"]:
            found += (container.output_dir / shard["records_key"]).read_text().splitlines()
    assert sorted(found) == sorted(naively(lines, rules))
