"""Pipeline files that promise nothing good: refused with the line, and in no time."""

from __future__ import annotations

import math
import re
import time
from pathlib import Path
from typing import Any

import botocore.session
import pytest
import regex
import yaml
from hypothesis import given
from hypothesis import strategies as st

from batch_inference.common.errors import ParamsError, PipelineError
from batch_inference.config.pipeline import Pipeline, load_pipeline
from batch_inference.config.run_params import read_params
from batch_inference.config.schedule import check_schedule
from batch_inference.config.sections.tags import RESERVED_KEYS, RESERVED_PREFIX
from batch_inference.config.validation_errors import MAX_PROBLEMS
from batch_inference.config.yaml_loader import MAX_BYTES
from tests.unit.builders import TWO_CONTAINERS, document, pipeline

#: Processor seconds that a file may take, however much it means. What was refused late took minutes, or for ever.
SOON = 5.0


def refused(folder: Path, text: str | bytes) -> tuple[str, ...]:
    """The problems of a file with this text."""
    file = folder / "churn.yaml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    began = time.process_time()
    with pytest.raises(PipelineError) as caught:
        load_pipeline(file)
    assert time.process_time() - began < SOON
    return caught.value.problems


def changed(folder: Path, changes: dict[str, Any]) -> str:
    """What is wrong with the valid file after these changes, and where."""
    problems = refused(folder, yaml.safe_dump(document(changes), sort_keys=False))
    assert len(problems) == 1
    return problems[0]


@pytest.mark.parametrize("value", [5.0, 1.01, 1e300])
def test_a_share_of_rejects_above_all_is_refused(tmp_path: Path, value: float) -> None:
    """It would never strike."""
    assert re.fullmatch(
        rf"line \d+, max_rejected: found {re.escape(str(value))}; allowed is a count, a whole number such as \d+, or a "
        r"share of at most 1\.0, such as 0\.05",
        changed(tmp_path, {"max_rejected": value}),
    )


@pytest.mark.parametrize("value", [0, 5, 10**9, 0.0, 0.05, 1.0])
def test_counts_and_shares_of_rejects_stay_what_they_are(value: float) -> None:
    read = pipeline({"max_rejected": value}).max_rejected
    assert (read, type(read)) == (value, type(value))


NUMBERS = [
    "max_rejected", "keep_runs_days", "goals.budget", "goals.capacity_wait_minutes", "transform.max_instances",
    "transform.max_payload_mb", "preprocess.volume_size_gb", "join.group_mb", "join.processing_above",
    "prices.ml-m5-large", "quotas.jobs",
]  # fmt: skip

#: These may be as large as they like.
COUNTS = {"max_rejected", "quotas.jobs", "join.processing_above"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (field, value) for field in NUMBERS for value in (True, math.inf, math.nan, -1, 10**400)
        if not (field in COUNTS and value == 10**400)
    ],
)  # fmt: skip
def test_no_number_is_true_infinite_none_negative_or_vast(tmp_path: Path, field: str, value: Any) -> None:
    """`true` was read as 1, and infinity as a budget."""
    problems = refused(tmp_path, yaml.safe_dump(document({field: value}), sort_keys=False))
    assert problems
    assert all(re.match(rf"line \d+, {field}: found ", each) for each in problems)


def test_a_deadline_is_no_truth_value(tmp_path: Path) -> None:
    """It was one minute."""
    assert "goals.deadline: found True; allowed are minutes" in changed(tmp_path, {"goals.deadline": True})


SET_FOR_EACH_RUN = (
    f"{', '.join(RESERVED_KEYS)} and keys that begin with {RESERVED_PREFIX} are set for each run"
)


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("R&D", "x", "found '&' in 'R&D'; AWS allows letters, digits, spaces and _ . : / = + - @"),
        ("team", "R&D", "found '&' in 'R&D'; AWS allows letters, digits, spaces and _ . : / = + - @"),
        ("team", "a\tb", r"found '\t' in 'a\tb'; AWS allows letters, digits, spaces and _ . : / = + - @"),
        ("aws:x", "y", "found 'aws:x'; keys that begin with aws: are AWS's own"),
        ("AWS:x", "y", "found 'AWS:x'; keys that begin with aws: are AWS's own"),
        ("", "y", "found a key of 0 characters; AWS allows 1 to 128"),
        ("k" * 129, "y", "found a key of 129 characters; AWS allows 1 to 128"),
        ("team", "v" * 257, "found a value of 257 characters; AWS allows 256"),
        *(
            (key, "y", f"found {key!r}; {SET_FOR_EACH_RUN}")
            for key in (*RESERVED_KEYS, f"{RESERVED_PREFIX}run-id")
        ),
    ],
)  # fmt: skip
def test_a_tag_that_aws_refuses_or_that_runs_are_found_by_is_refused_at_its_line(
    tmp_path: Path, key: str, value: str, problem: str
) -> None:
    found = changed(tmp_path, {"tags": {"good": "1", key: value}})
    line = yaml.safe_dump(document({"tags": {"good": "1"}}), sort_keys=False).count("\n") + 1
    assert found == f"line {line}, tags.{key}: {problem}"


def test_more_tags_than_a_job_can_carry_are_refused(tmp_path: Path) -> None:
    """Fifty, of which runs have some of their own."""
    assert "tags: found" in changed(tmp_path, {"tags": {f"k{number}": "v" for number in range(41)}})
    assert len(pipeline({"tags": {f"k{number}": "v" for number in range(40)}}).tags) == 40


def test_the_limits_of_tags_are_those_of_aws_own_model() -> None:
    """botocore's shapes."""
    shapes = botocore.session.get_session().get_service_model("sagemaker")
    key, value = (shapes.shape_for(name).metadata for name in ("TagKey", "TagValue"))
    assert (key["min"], key["max"], value["min"], value["max"]) == (1, 128, 0, 256)
    assert key["pattern"] == value["pattern"] == r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)"
    assert shapes.shape_for("TagList").metadata["max"] == 50


@given(st.text(st.characters(max_codepoint=0x33FF, exclude_categories=["Cn", "Cs"]), max_size=5))
def test_a_value_is_a_tag_exactly_when_aws_pattern_says_so(value: str) -> None:
    matches = regex.fullmatch(r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)", value) is not None
    try:
        Pipeline.model_validate(document({"tags": {"key": value}}))
    except ValueError:
        assert not matches
    else:
        assert matches


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("@dayly", "found '@dayly'; allowed is a cron expression of five fields, or a preset such as '@daily'; did yo"),
        ("61 2 * * *", "found '61 2 * * *', which is not a cron expression ([61 2 * * *] is not acceptable, out of "),
        ("0 2 * * MON-FRY", "found '0 2 * * MON-FRY', which is not a cron expression"),
        ("0 0 30 2 *", "found '0 0 30 2 *', which is never due; allowed is"),
        ("0 0 31 4,6 *", "found '0 0 31 4,6 *', which is never due; allowed is"),
        ("*/0 * * * *", "found '*/0 * * * *', which is not a cron expression"),
        ("@", "found '@'; allowed is"),
        ("", "found ''; allowed is"),
        ("0 0 0 2 * *", "found '0 0 0 2 * *'; allowed is a cron expression of five fields"),
    ],
)  # fmt: skip
def test_a_schedule_that_airflow_cannot_follow_is_refused_at_its_line(
    tmp_path: Path, value: str, problem: str
) -> None:
    assert re.match(rf"line \d+, schedule: {re.escape(problem)}", changed(tmp_path, {"schedule": value}))


@pytest.mark.parametrize(
    "value",
    ["@hourly", "@daily", "@weekly", "@monthly", "@quarterly", "@yearly", "@once", "@continuous", "@midnight",
     "0 2 * * MON-FRI", "*/15 0-6 1,15 jan-mar *", "0 0 29 2 *", "0 0 L * *", "0 0 * * sat#1"],
)  # fmt: skip
def test_a_schedule_that_is_taken_makes_a_dag(value: str) -> None:
    """Every preset and every cron that Airflow itself follows."""
    from airflow.sdk import DAG

    check_schedule(value)
    DAG("probe", schedule=value, max_active_runs=1).validate()


def alias_chain(length: int) -> str:
    """Each list holds the one before."""
    return "a0: &a0 [x]\n" + "".join(f"a{each}: &a{each} [*a{each - 1}]\n" for each in range(1, length))


def bomb(members: str) -> str:
    """Eight levels of nine aliases each: 254 bytes that mean 43 million values."""
    levels = "".join(
        f"{name}: &{name} {members.format(','.join([f'*{before}'] * 9))}\n"
        for before, name in zip("abcdefg", "bcdefgh", strict=True)
    )
    return f"a: &a {{k: 1}}\n{levels}"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (bomb("[{}]"), "line 7: found more than 200,000 values with aliases expanded; write fewer"),
        (bomb("{{<<: [{}]}}"), "line 7: found more than 200,000 values"),
        (alias_chain(3000), "line 50: found more than 50 levels with aliases expanded"),
        ("[" * 20_000, "line 1, column 51: not valid YAML: found more than 50 levels"),
        ("a: " + "{a: " * 20_000, "line 1, column 197: not valid YAML: found more than 50 levels"),
        ("- " * 20_000, "line 1, column 101: not valid YAML: found more than 50 levels"),
        ("? " * 20_000, "line 1, column 101: not valid YAML: found more than 50 levels"),
        ("x" * (MAX_BYTES + 1), "is longer than 500,000 bytes, the most that is read"),
        ("a: " + "9" * 5000, "line 1: found a number of 5,000 digits; allowed are 4,000"),
        (b"name: churn\nrole: \xff\n", "line 2: found the byte 0xff; allowed is utf-8"),
        (b"\xff\xfen\x00", "line 1: found the byte 0xff; allowed is utf-8"),
        ("a: 1\nb: \x07", r"line 2: not valid YAML: found the character '\x07'"),
        ("a: 1\n---\nb: 1\n", "line 2, column 1: not valid YAML: but found another document"),
        ("a:\n\t- x\n", r"line 2, column 1: not valid YAML: found character '\t' that cannot start any token"),
        ("<<: 1", "line 1, column 5: not valid YAML: expected a mapping or list of mappings for merging"),
        ("a: *b", "line 1, column 4: not valid YAML: found undefined alias 'b'"),
        *(
            (f"a: {tag} x", f"line 1, column 4: not valid YAML: found the tag 'tag:yaml.org,2002:{tag[2:]}'; allowed")
            for tag in ("!!timestamp", "!!bool", "!!null", "!!int", "!!float", "!!binary", "!!set")
        ),
    ],
)  # fmt: skip
def test_a_file_that_is_a_trap_is_refused_at_once(tmp_path: Path, text: str | bytes, problem: str) -> None:
    """With the line; some of them took for ever, others were a RecursionError, an AttributeError or a KeyError."""
    (found,) = refused(tmp_path, text)
    assert found.startswith(problem)


def test_of_very_many_problems_some_are_told(tmp_path: Path) -> None:
    """Each took a fifth of a millisecond, and there may be a hundred thousand."""
    problems = refused(tmp_path, f"rules: [{','.join(['a'] * 100_000)}]")
    assert len(problems) <= MAX_PROBLEMS + 1
    assert re.fullmatch(r"and 9\d,\d{3} more", problems[-1])


def test_aliases_and_merges_of_modest_size_are_read(tmp_path: Path) -> None:
    text = yaml.safe_dump(document({"model": TWO_CONTAINERS, "join": None}), sort_keys=False)
    text += "join: &limits {max_instances: 3}\n"
    text = text.replace("transform:\n  max_instances: 4\n", "")
    text += "transform:\n  <<: *limits\n  batch_strategy: SingleRecord\n"
    (tmp_path / "churn.yaml").write_text(text)
    read = load_pipeline(tmp_path / "churn.yaml")
    assert (read.transform.max_instances, read.transform.batch_strategy) == (3, "SingleRecord")


def test_columns_may_be_called_what_older_yaml_reads_as_something_else(tmp_path: Path) -> None:
    names = ["on", "off", "yes", "NO", "2026-01-31", "1:30", "0777", "0x1F", "1_000", "n"]
    text = yaml.safe_dump(document({"input.columns": [{"name": "id"}]}), sort_keys=False)
    text = text.replace("  - name: id\n", "".join(f"  - name: {name}\n" for name in names))
    (tmp_path / "churn.yaml").write_text(text)
    assert load_pipeline(tmp_path / "churn.yaml").column_names == tuple(names)


@pytest.mark.parametrize("name", ["a b", "1a", "", "ä"])
def test_a_variable_that_no_container_can_have_is_refused(tmp_path: Path, name: str) -> None:
    """CreateModel would refuse it, after preprocessing was paid for."""
    model = {"containers": [{"image": "registry/a:1", "environment": {name: "x"}}]}
    assert f"model.containers[0].environment.{name}: found {name!r}; allowed is what matches" in changed(
        tmp_path, {"model": model}
    )


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"budget": math.inf}, "budget: found inf; allowed is a finite number"),
        ({"budget": math.nan}, "budget: found nan; allowed is a finite number"),
        ({"budget": True}, "budget: found true; allowed is a number"),
        ({"transform_instance_count": True}, "transform_instance_count: found true; allowed is a whole number"),
        ({"max_instances": 0}, "max_instances: found 0; allowed is a number of at least 1"),
        ({"max_instances": 101}, "max_instances: found 101; allowed is a number of at most 100"),
        ({"deadline": True}, "deadline: found 'True'; allowed are minutes"),
    ],
)  # fmt: skip
def test_the_params_of_a_run_have_the_same_bounds(params: dict[str, Any], problem: str) -> None:
    with pytest.raises(ParamsError, match=re.escape(problem)):
        read_params(params)


@pytest.mark.parametrize(
    ("transform", "problem"),
    [
        (
            {"timeout_seconds": 3601},
            "transform.timeout_seconds: found 3601; allowed is a number of at most 3600",
        ),
        ({"timeout_seconds": 0}, "transform.timeout_seconds: found 0; allowed is a number of at least 1"),
        ({"retries": 4}, "transform.retries: found 4; allowed is a number of at most 3"),
        ({"environment": {"1A": "x"}}, "transform.environment.1A: found '1A'; allowed is what matches"),
        ({"environment": {"A": "x" * 10_241}}, "transform.environment.A: found"),
        (
            {"environment": {f"A{number}": "x" for number in range(17)}},
            "…; allowed is at most 16 items",
        ),
        (
            {"environment": {"SAGEMAKER_BATCH": "false"}},
            (
                "transform.environment: found 'SAGEMAKER_BATCH', which SageMaker sets itself; write batch_strategy, "
                "max_payload_mb and max_concurrent_transforms instead"
            ),
        ),
    ],
)
def test_what_sagemaker_does_not_take_for_a_request_to_the_model_is_refused(
    tmp_path: Path, transform: dict[str, Any], problem: str
) -> None:
    assert problem in changed(tmp_path, {f"transform.{key}": value for key, value in transform.items()})


def test_a_time_limit_in_which_a_request_cannot_have_all_of_its_tries_is_refused(tmp_path: Path) -> None:
    """Stated together; one that only SageMaker's defaults exceed is raised by the plan."""
    changes = {"transform.max_runtime_minutes": 59, "transform.timeout_seconds": 900}
    assert changed(tmp_path, changes).endswith(
        "transform.max_runtime_minutes: found 59 with timeout_seconds 900 and retries 3 (SageMaker's default); allowed "
        "is at least 60, because one request can take that long, all tries together; write max_runtime_minutes: 60, or "
        "lower timeout_seconds or retries"
    )
    for fitting in ({"transform.max_runtime_minutes": 60}, {"transform.retries": 2}):
        pipeline({**changes, **fitting})
    pipeline({"transform.max_runtime_minutes": 1})
    pipeline({"transform.timeout_seconds": 3600, "transform.retries": 3})
