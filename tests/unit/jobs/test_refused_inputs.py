"""Inputs and configurations that end a job: one line for people, in the log and as the exit message."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.jobs.containers import columns, config, run_preprocess
from tests.unit.jobs.hostile_inputs import gzip_bytes

AB = columns(id="string", x="float")
ONE = "s3://bucket/in/one.csv"
RULE = {"name": "mine", "kind": "range", "columns": ["x"]}


@pytest.mark.parametrize(
    ("content", "changes", "message"),
    [
        (gzip_bytes(b"a,1\n"), {}, f"{ONE} is gzip data; set input.compression to gzip"),
        (b"id,y\na,1\n", {"input_header": True}, f"{ONE}: the header has unknown column 'y'; the pipeline names"),
    ],
)  # fmt: skip
def test_an_object_that_is_something_else_is_named(
    tmp_path: Path, content: bytes, changes: dict[str, Any], message: str
) -> None:
    """The job fails before anything could be scored by mistake; its message says which object and what to do.

    All kinds of such objects are in the hostile corpus; here is what the process leaves.
    """
    ended = run_preprocess(tmp_path, config(AB, **changes), {"one.csv": content})
    assert ended.exit_code == 1
    assert ended.message.startswith(message)
    assert "\n" not in ended.message
    assert ended.error == "InputError"
    assert ended.stderr.strip() == f"InputError: {ended.message}"
    assert ended.manifest == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "version is 2, this job reads version 1"),
        ({"surprise": 1}, "surprise is not known, allowed are version, pipeline"),
        ({"shard_bytes": "big"}, 'shard_bytes is "big", allowed is a whole number'),
        ({"shard_bytes": True}, "shard_bytes is true, allowed is a whole number"),
        ({"shard_bytes": None}, "shard_bytes is missing, it must be a whole number"),
        ({"distribution": "Sharded"}, "distribution is 'Sharded', allowed are ShardedByS3Key, FullyReplicated"),
        ({"input": {"columns": AB, "header": "no"}}, 'input.header is "no", allowed is true or false'),
        ({"input": {"columns": [{"name": "x"}]}}, "input.columns[0].type is missing, it must be a string"),
        ({"input": [10] * 40}, f"input is [{'10, ' * 14}..., allowed is an object"),
        ({"rules": {}}, "rules is {}, allowed is a list"),
        ({"rules": [{**RULE, "mim": 2}]}, "rules[0].mim is not known, allowed are name, kind"),
        ({"rules": [{**RULE, "min": [2]}]}, "rules[0].min is [2], allowed is a number"),
        ({"rules": [{**RULE, "kind": "outlaw"}]}, "rules[0].kind is 'outlaw', allowed are required, range"),
        ({"rules": [{**RULE, "pattern": "("}]}, "rules[0].pattern is '(', not a regular"),
    ],
)  # fmt: skip
def test_a_configuration_that_cannot_be_carried_out_names_the_field(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    """Field, what was found, what is allowed. What a pipeline file may state is checked before, in planning."""
    ended = run_preprocess(tmp_path, {**config(AB), **change}, {"one.csv": b"a,1\n"})
    assert ended.exit_code == 1
    assert ended.message.startswith(message)
    assert ended.error == "ConfigError"
    assert ended.stderr.strip() == f"ConfigError: {ended.message}"


def test_a_configuration_that_is_no_json_is_said(tmp_path: Path) -> None:
    ended = run_preprocess(tmp_path, "{", {})
    assert ended.exit_code == 1
    assert "preprocess.json is not JSON" in ended.message
