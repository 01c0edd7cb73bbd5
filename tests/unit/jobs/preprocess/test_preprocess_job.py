"""The preprocess job as SageMaker runs it: one process a host, in a folder laid out as a container."""

from __future__ import annotations

import csv
import gzip
import io
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from batch_inference.config.sections.stages import Encoding
from tests.unit.jobs.containers import REAL_ABALONE, abalone_columns, columns, config, run_preprocess
from tests.unit.jobs.hostile_inputs import run, zstd

ABALONE_RULES: list[dict[str, Any]] = [
    {"name": "sex known", "rule": "allowed", "column": "sex", "values": ["M", "F", "I"]},
    {"name": "whole weight present", "rule": "required", "columns": ["whole_weight"]},
    {
        "name": "height possible",
        "rule": "range",
        "column": "height",
        "min": 0,
        "exclusive_min": True,
        "max": 1,
    },
    {"name": "no duplicates", "rule": "duplicates", "key": None},
]
AB = columns(id="string", x="float")


@pytest.mark.skipif(not REAL_ABALONE.exists(), reason="needs the shared data beside the repository")
def test_the_real_abalone_data_is_accounted_for(tmp_path: Path) -> None:
    """4,177 records in; the three with impossible heights are rejected with line, reason and text."""
    content = REAL_ABALONE.read_bytes()
    ended = run_preprocess(
        tmp_path, config(abalone_columns(), rules=ABALONE_RULES, shard_bytes=20_000), {"abalone.csv": content}
    )
    assert (ended.exit_code, ended.message) == (0, "algo-1: 4,177 in, 3 rejected, 10 shards")
    assert [(line["line"], line["rule"], line["reason"]) for line in ended.rejects()] == [
        (1258, "height possible", "height is 0, allowed is above 0 and at most 1"),
        (2052, "height possible", "height is 1.13, allowed is above 0 and at most 1"),
        (3997, "height possible", "height is 0, allowed is above 0 and at most 1"),
    ]
    lines = content.decode().splitlines()
    kept = [line for number, line in enumerate(lines, start=1) if number not in (1258, 2052, 3997)]
    assert b"".join(ended.records()).decode().splitlines() == kept
    assert b"".join(ended.features()).decode().splitlines() == [line.rsplit(",", 1)[0] for line in kept]
    sizes = [shard["records"] for shard in ended.manifest["shards"]]
    assert max(sizes) - min(sizes) < 0.05 * max(sizes)
    assert ended.manifest["objects"][0]["source"] == "s3://bucket/in/abalone.csv"


def test_text_is_kept_to_the_letter_and_features_line_up(tmp_path: Path) -> None:
    """Quotes, quoted line breaks, a byte order mark, CR LF and a missing final line feed: records stay as written."""
    content = '\ufeffa,"1.50",  keep  \r\n"x,""y",2,"two\r\nlines"\r\n\r\nü,3,"last"'.encode()
    wanted = config(columns(id="string", x="float", note="string"), feature_columns=["x", "id"], rules=[])
    ended = run_preprocess(tmp_path, wanted, {"one.csv": content})
    assert ended.records() == ['a,"1.50",  keep  \n"x,""y",2,"two\r\nlines"\nü,3,"last"\n'.encode()]
    assert ended.features() == ['1.50,a\n2,"x,""y"\n3,ü\n'.encode()]
    assert ended.manifest["objects"] == [
        {"source": "s3://bucket/in/one.csv", "records": 3, "blank_lines": 1, "columns": ["id", "x", "note"]}
    ]


def test_a_line_break_in_a_feature_is_rejected(tmp_path: Path) -> None:
    """SageMaker would cut the model's input there; a record is not altered to fit."""
    ended = run_preprocess(tmp_path, config(AB), {"one.csv": b'a,1\n"b\nc",2\nd,3\n'})
    assert ended.features() == [b"a,1\nd,3\n"]
    assert [(one["record"], one["line"], one["rule"], one["text"]) for one in ended.rejects()] == [
        (2, 2, "line break", '"b\nc",2')
    ]


@pytest.mark.parametrize(
    ("line", "rule", "reason"),
    [
        (b"a", "arity", "1 field, the records of this object have 2"),
        (b"a,1,2", "arity", "3 fields, the records of this object have 2"),
        (b"a,one", "type", "x is 'one', allowed is a number or empty"),
        (b"a,nan", "type", "x is 'nan', allowed is a number or empty"),
        (b"a,inf", "type", "x is 'inf', allowed is a number or empty"),
        (b"a,1_000", "type", "x is '1_000', allowed is a number or empty"),
        (b"a,0x10", "type", "x is '0x10', allowed is a number or empty"),
        ("a,\u0661".encode(), "type", "x is '\u0661', allowed is a number or empty"),
        (b"a,1e999", "type", "x is '1e999', allowed is a finite number of 64 bits"),
        (b"caf\xe9,1", "encoding", "byte 0xe9 at character 4 is not of the input's encoding"),
        (b"a\0,1", "encoding", "the record holds a NUL character"),
        (
            b'"a,1',
            "quoting",
            "a field of this line has no end within 1,048,576 characters of its object",
        ),
    ],
)
def test_records_that_cannot_be_read_are_rejected_with_the_reason(
    tmp_path: Path, line: bytes, rule: str, reason: str
) -> None:
    """One bad record costs itself alone."""
    ended = run_preprocess(tmp_path, config(AB), {"one.csv": b"a,1\n" + line + b"\nb,2\n"})
    assert [(one["rule"], one["reason"]) for one in ended.rejects()] == [(rule, reason)]
    assert ended.records() == [b"a,1\nb,2\n"]
    assert ended.manifest["rejected"] == {rule: 1}


@pytest.mark.parametrize(
    ("rule", "cells", "reason"),
    [
        ({"rule": "required", "columns": ["x"]}, ["", " "], "x is empty, a value is required"),
        (
            {"rule": "range", "column": "x", "min": 0, "max": 5},
            ["-1"],
            "x is -1, allowed is at least 0 and at most 5",
        ),
        (
            {"rule": "range", "column": "x", "max": 5, "exclusive_max": True},
            ["5"],
            "x is 5, allowed is below 5",
        ),
        (
            {"rule": "allowed", "column": "x", "values": [1, 2.5, ""]},
            ["3"],
            "x is 3, allowed is one of 1, 2.5, ",
        ),
        (
            {"rule": "pattern", "column": "x", "pattern": "[0-9]+"},
            ["1.5"],
            "x is '1.5', allowed is what fully matches [0-9]+",
        ),
    ],
)
def test_a_rule_rejects_what_it_names(
    tmp_path: Path, rule: dict[str, Any], cells: list[str], reason: str
) -> None:
    """Everything else passes, an empty cell too unless it is required."""
    passing = ["1", "2"] if rule["rule"] == "required" else ["1", "2", ""]
    if rule["rule"] == "allowed":
        passing[1] = "2.50"
    lines = "".join(f"a,{cell}\n" for cell in [*passing, *cells])
    ended = run_preprocess(
        tmp_path, config(AB, rules=[{"name": "mine", **rule}]), {"one.csv": lines.encode()}
    )
    assert [one["reason"] for one in ended.rejects()] == [reason] * len(cells)
    assert b"".join(ended.records()).decode() == "".join(f"a,{cell}\n" for cell in passing)


def test_the_first_rule_that_fails_is_the_reason(tmp_path: Path) -> None:
    """Rules are counted in their order; each record once."""
    rules: list[dict[str, Any]] = [
        {"name": "small", "rule": "range", "column": "x", "max": 10},
        {"name": "known", "rule": "allowed", "column": "id", "values": ["a"]},
    ]
    ended = run_preprocess(tmp_path, config(AB, rules=rules), {"one.csv": b"b,11\nb,1\na,11\na,1\n"})
    assert ended.manifest["rejected"] == {"small": 2, "known": 1}


def test_an_optional_label_is_decided_for_each_object(tmp_path: Path) -> None:
    """Objects with and without it never share a shard; a record of the other kind is rejected within an object."""
    ended = run_preprocess(
        tmp_path,
        config(columns(id="string", x="float", y="integer?")),
        {"a.csv": b"one\na,1,5\nb,2,6\nc,3\n", "b.csv": b"d,4\ne,5,7\n", "c.csv": b""},
    )
    assert ended.records() == [b"a,1,5\nb,2,6\n", b"d,4\n"]
    assert [shard["columns"] for shard in ended.manifest["shards"]] == [["id", "x", "y"], ["id", "x"]]
    assert ended.features() == [b"a,1\nb,2\n", b"d,4\n"]
    assert [one["reason"] for one in ended.rejects()] == [
        "1 field, the records of this object have 3",
        "2 fields, the records of this object have 3",
        "3 fields, the records of this object have 2",
    ]


def test_a_header_may_name_the_columns_in_any_order(tmp_path: Path) -> None:
    """Features follow the configuration, records stay as they came, the shard says what its columns are."""
    wanted = config(columns(id="string", x="float", y="integer?"), input_header=True, input_delimiter=";")
    ended = run_preprocess(
        tmp_path, wanted, {"a.csv": b'"x";id\n1;a\n', "b.csv": b"id;x;y\nb;2;3\n", "c.csv": b"id;x\n"}
    )
    assert ended.records() == [b"1;a\n", b"b;2;3\n"]
    assert ended.features() == [b"a,1\n", b"b,2\n"]
    assert [shard["columns"] for shard in ended.manifest["shards"]] == [["x", "id"], ["id", "x", "y"]]
    assert [one["records"] for one in ended.manifest["objects"]] == [1, 1, 0]


@pytest.mark.parametrize("content", [{}, {"a.csv": b""}, {"a.csv": b"\n\r\n\n"}])
def test_no_records_end_well_with_zero_counts(tmp_path: Path, content: dict[str, bytes]) -> None:
    """No object, a zero-length one and one of empty lines; whether that is a failure is decided elsewhere."""
    ended = run_preprocess(tmp_path, config(AB), content)
    assert (ended.exit_code, ended.message) == (0, "algo-1: 0 in, 0 rejected, 0 shards")
    assert (ended.manifest["records_in"], ended.manifest["shards"]) == (0, [])


def test_all_rejected_leaves_rejects_and_no_shard(tmp_path: Path) -> None:
    ended = run_preprocess(tmp_path, config(AB, shard_bytes=5), {"a.csv": b"a\nb\nc\nd\n"})
    assert ended.message == "algo-1: 4 in, 4 rejected, 0 shards"
    assert (ended.manifest["shards"], ended.manifest["records_out"]) == ([], 0)
    assert [one["text"] for one in ended.rejects()] == ["a", "b", "c", "d"]
    assert not list((ended.output / "records").iterdir())


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zstd": zstd,
    "gzip in two members": lambda text: gzip.compress(text[:30_000]) + gzip.compress(text[30_000:]),
    "zstd in two frames": lambda text: zstd(text[:30_000]) + zstd(text[30_000:]),
}


@pytest.mark.parametrize("stated", [True, False])
@pytest.mark.parametrize("how", PACKED)
def test_compressed_objects_are_read_and_cut_into_shards_of_text(
    tmp_path: Path, how: str, stated: bool
) -> None:
    """Shards are sized by the text that comes out, not by what was stored."""
    lines = "".join(f"row-{number:06d},{number}\n" for number in range(20_000)).encode()
    compression = how.split()[0] if stated else "auto"
    manifest, output = run(
        tmp_path, PACKED[how](lines), {"input_compression": compression, "shard_bytes": 50_000}
    )
    assert b"".join((output / shard["records_key"]).read_bytes() for shard in manifest["shards"]) == lines
    sizes = [shard["bytes"] for shard in manifest["shards"]]
    assert len(sizes) == round(len(lines) / 50_000)
    assert max(sizes[:-1]) - min(sizes[:-1]) < 2_000


#: A word in each encoding that a pipeline may name.
WORDS = {
    "utf-8": "café", "utf-16": "café", "utf-32": "café", "latin-1": "café", "iso-8859-15": "5 €", "cp1250": "řeka",
    "cp1251": "река", "cp1252": "naïve", "cp1253": "ποτάμι", "cp1254": "ağaç", "big5": "河流", "euc_jp": "川の流れ",
    "euc_kr": "강물", "gb18030": "河流", "shift_jis": "川の流れ",
}  # fmt: skip


@pytest.mark.parametrize("encoding", get_args(Encoding))
def test_every_encoding_that_a_pipeline_may_name_becomes_utf_8(tmp_path: Path, encoding: str) -> None:
    text = f'{WORDS[encoding]},1\n"{WORDS[encoding]}, 2",2\n'
    manifest, output = run(tmp_path, text.encode(encoding), {"input_encoding": encoding})
    assert (output / manifest["shards"][0]["records_key"]).read_bytes() == text.encode()


def test_two_hosts_account_for_every_record_exactly_once(tmp_path: Path) -> None:
    """With all objects on both, each host handles its own share, and duplicates are told over all of them."""
    rng = random.Random(5)
    objects = {}
    for number in range(7):
        rows = [f"{rng.choice('abc')},{rng.randrange(400)}\n" for _ in range(rng.randrange(50, 400))]
        objects[f"part-{number}.csv"] = "".join([*rows, "broken\n", "a,one\n"]).encode()
    rules: list[dict[str, Any]] = [
        {"name": "small", "rule": "range", "column": "x", "max": 350},
        {"name": "once", "rule": "duplicates"},
    ]
    wanted = config(AB, rules=rules, shard_bytes=600)
    alone = run_preprocess(tmp_path / "alone", wanted, objects)
    hosts = ["algo-1", "algo-2"]
    both = [run_preprocess(tmp_path / "both", wanted, objects, host=host, hosts=hosts) for host in hosts]

    def accounted(ended: list[Any]) -> tuple[list[str], list[tuple[str, int, str]]]:
        records = [row for one in ended for file in one.records() for row in file.decode().splitlines()]
        rejects = [(row["source"], row["record"], row["rule"]) for one in ended for row in one.rejects()]
        return sorted(records), sorted(rejects)

    assert accounted(both) == accounted([alone])
    lines = [line for content in objects.values() for line in content.decode().splitlines()]
    passed, rejected = accounted(both)
    assert len(passed) + len(rejected) == len(lines)
    distinct = {line for line in lines if line.count(",") == 1 and line != "a,one"}
    assert passed == sorted(line for line in distinct if int(line.split(",")[1]) <= 350)
    sources = [one["source"] for ended in both for one in ended.manifest["objects"]]
    assert sorted(sources) == [f"s3://bucket/in/part-{number}.csv" for number in range(7)]
    names = [shard["name"] for ended in both for shard in ended.manifest["shards"]]
    assert len(names) == len(set(names)) > 10
    loads = [ended.manifest["records_in"] for ended in both]
    assert max(loads) < 0.65 * sum(loads)


def test_random_tables_come_out_whole(tmp_path: Path) -> None:
    """Awkward cells in many objects: records and rejects together give the input back, in order, shard by shard."""
    rng = random.Random(11)
    awkward = ["", "a", "é", "a,b", 'say "hi"', "line\nbreak", " padded ", "\u2028", "NA"]
    rows_by_object = {}
    objects = {}
    for number in range(12):
        rows = [[rng.choice(awkward), rng.choice(["1", "", "2.5", "x"])] for _ in range(rng.randrange(0, 80))]
        text = io.StringIO()
        csv.writer(text, lineterminator=rng.choice(["\n", "\r\n"])).writerows(rows)
        key = f"s/{number:02d}.csv"
        objects[key] = text.getvalue().encode()
        rows_by_object[f"s3://bucket/in/{key}"] = rows
    ended = run_preprocess(tmp_path, config(AB, shard_bytes=300), objects)
    kept = [row for file in ended.records() for row in csv.reader(io.StringIO(file.decode(), newline=""))]
    seen = [row for file in ended.features() for row in csv.reader(io.StringIO(file.decode(), newline=""))]
    assert kept == seen
    expected_kept, expected_rejects = [], []
    for source, rows in rows_by_object.items():
        for number, row in enumerate(rows, start=1):
            if row[1] == "x" or "\n" in row[0]:
                expected_rejects.append((source, number, "type" if row[1] == "x" else "line break"))
            else:
                expected_kept.append(row)
    assert kept == expected_kept
    assert [(one["source"], one["record"], one["rule"]) for one in ended.rejects()] == expected_rejects
    assert ended.manifest["rejected"] == Counter(rule for _, _, rule in expected_rejects)
    assert len(ended.manifest["shards"]) > 12
    for shard, features in zip(ended.manifest["shards"], ended.features(), strict=True):
        assert features.count(b"\n") == shard["records"] > 0
