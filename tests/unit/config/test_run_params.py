"""The trigger form offers every knob of a run with limits, and what it cannot refuse is refused by name."""

from __future__ import annotations

import pickle
from typing import Any

import jsonschema
import pytest

from batch_inference.common.errors import ParamsError
from batch_inference.config.run_params import (
    RunParams,
    build_param_specs,
    check_conf_keys,
    check_param_limits,
    keep_overrides,
    read_params,
)
from tests.unit.builders import TWO_CONTAINERS, example, pipeline


def test_the_form_has_a_field_for_every_param_and_no_other() -> None:
    assert set(build_param_specs(example())) == set(RunParams.model_fields)


def test_every_field_has_title_description_section_and_a_default_its_own_schema_accepts() -> None:
    for name, spec in build_param_specs(example()).items():
        assert spec["title"], name
        assert spec["description"].endswith("."), name
        assert spec["section"], name
        jsonschema.Draft202012Validator.check_schema(spec)
        jsonschema.validate(spec["default"], spec)


def test_the_sections_are_in_the_order_in_which_people_think() -> None:
    """What, how large, which model, where to; then what few runs need."""
    specs = build_param_specs(example())
    assert list(dict.fromkeys(spec["section"] for spec in specs.values())) == [
        "Input", "Size and cost", "Model", "Output", "Held runs",
    ]  # fmt: skip
    assert [name for name, spec in specs.items() if spec["section"] == "Size and cost"][:3] == [
        "dry_run", "deadline", "budget",
    ]  # fmt: skip
    # Airflow's form gathers a section's fields where the first of them stands.
    sections = [spec["section"] for spec in specs.values()]
    assert sections == sorted(sections, key=list(dict.fromkeys(sections)).index)


def test_the_form_shows_the_pipelines_own_values() -> None:
    specs = build_param_specs(
        pipeline(
            {
                "goals": {"deadline": "06:00", "budget": 2.5, "prefer": "cost"},
                "transform.max_concurrent_transforms": 3,
            }
        )
    )
    shown = {name: spec["default"] for name, spec in specs.items() if spec["default"] is not None}
    assert shown == {
        "dry_run": False, "skip_unchanged": False,
        "input_uri": "s3://data/in/", "output_uri": "s3://data/out/date={date}/", "deadline": "06:00",
        "budget": 2.5, "prefer": "cost", "preprocess_instance_type": "ml.m5.xlarge",
        "transform_instance_type": "ml.m5.xlarge", "transform_batch_strategy": "MultiRecord",
        "transform_max_payload_mb": 6, "transform_max_concurrent_transforms": 3,
    }  # fmt: skip
    for name, value in shown.items():
        if name != "dry_run" and specs[name]["section"] in ("Size and cost", "Model"):
            assert f"Empty: {value}, as the pipeline says." in specs[name]["description"]


def test_the_form_of_a_scheduled_pipeline_says_what_unpausing_may_start() -> None:
    for schedule, said in (("0 2 * * *", True), (None, False)):
        description = build_param_specs(pipeline({"schedule": schedule}))["dry_run"]["description"]
        assert ("may also start its last scheduled run" in description) is said


def test_the_untouched_form_asks_for_nothing() -> None:
    untouched = read_params({name: spec["default"] for name, spec in build_param_specs(example()).items()})
    assert keep_overrides(untouched, example()) == RunParams()


def test_what_is_typed_into_the_form_is_asked_for() -> None:
    typed = {name: spec["default"] for name, spec in build_param_specs(example()).items()}
    typed |= {"dry_run": True, "transform_instance_count": 2, "prefer": "cost", "transform_max_payload_mb": 1}
    assert keep_overrides(read_params(typed), example()) == RunParams(
        dry_run=True, transform_instance_count=2, prefer="cost", transform_max_payload_mb=1
    )


def test_the_form_says_where_the_pipeline_and_the_model_end() -> None:
    specs = build_param_specs(pipeline({"transform.max_instances": 7, "preprocess.max_instances": 3}))
    assert "1 to 7." in specs["transform_instance_count"]["description"]
    assert "1 to 3." in specs["preprocess_instance_count"]["description"]
    assert "1 to 100." in build_param_specs(pipeline())["transform_max_payload_mb"]["description"]
    assert (
        "1 to 5."
        in build_param_specs(pipeline({"model": TWO_CONTAINERS}))["transform_max_payload_mb"]["description"]
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("transform_instance_count", 0), ("transform_instance_count", 99), ("transform_instance_count", 1.5),
        ("transform_instance_type", "m5.xlarge"), ("input_uri", "/tmp/x"), ("transform_max_payload_mb", 0),
        ("budget", -1), ("deadline", "tomorrow"), ("max_instances", 0), ("output_uri", "out"),
    ],
)  # fmt: skip
def test_what_a_person_can_type_into_the_form_is_accepted_by_airflow_and_refused_by_plan(
    name: str, value: Any
) -> None:
    """Airflow's form checks no bound and no pattern, and shows a bare Bad Request: `plan` says what is allowed."""
    jsonschema.validate(value, build_param_specs(example())[name])
    with pytest.raises(ParamsError, match=rf"{name}: found .*{value}.*; allowed (is|are)"):
        check_param_limits(example(), read_params({name: value}))


def test_no_schema_has_a_keyword_that_the_form_does_not_check() -> None:
    checked = {"type", "enum", "examples", "default", "title", "description", "section"}
    assert {key for spec in build_param_specs(example()).values() for key in spec} <= checked


@pytest.mark.parametrize(
    ("name", "value"),
    [("transform_instance_count", "2"), ("transform_batch_strategy", "Multi"), ("dry_run", "yes")],
)
def test_what_the_form_cannot_hold_is_refused_by_airflow(name: str, value: Any) -> None:
    """A choice that its list lacks, or another type, comes from REST alone."""
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(value, build_param_specs(example())[name])


@pytest.mark.parametrize("empty", [None, "", "  "])
def test_a_field_left_empty_means_that_the_plan_decides(empty: str | None) -> None:
    names = [name for name in RunParams.model_fields if name != "dry_run"]
    assert read_params(dict.fromkeys(names, empty)) == RunParams()


@pytest.mark.parametrize(
    ("params", "problems"),
    [
        (
            {"transform_instance_count": 0},
            ("transform_instance_count: found 0; allowed is a number of at least 1",),
        ),
        ({"input_uri": "in"}, ("input_uri: found 'in'; allowed is an S3 URI such as s3://bucket/prefix/",)),
        (
            {"transform_batch_strategy": "Multi", "transform_instance_count": 2.5},
            (
                "transform_instance_count: found 2.5; allowed is a whole number",
                (
                    "transform_batch_strategy: found 'Multi'; allowed is 'MultiRecord' or 'SingleRecord'; "
                    "did you mean 'MultiRecord'?"
                ),
            ),
        ),
    ],
)
def test_a_param_that_cannot_be_used_is_named(params: dict[str, Any], problems: tuple[str, ...]) -> None:
    with pytest.raises(ParamsError) as caught:
        read_params(params)
    assert caught.value.problems == problems
    assert str(pickle.loads(pickle.dumps(caught.value))) == "\n".join(problems)


def test_an_unknown_key_of_a_runs_conf_is_named_with_the_nearest_valid_one() -> None:
    known = build_param_specs(example())
    check_conf_keys({"transform_instance_count": 2}, known)
    check_conf_keys({}, known)
    check_conf_keys(None, known)
    for wrong, right in [
        ("transform_instances_count", "transform_instance_count"),
        ("transform-instance-count", "transform_instance_count"),
        ("dryrun", "dry_run"),
        ("instance_type", "transform_instance_type"),
        ("input", "input_uri"),
    ]:
        with pytest.raises(ParamsError) as caught:
            check_conf_keys({wrong: 2}, known)
        assert str(caught.value).startswith(
            f"conf: found the unknown key {wrong!r}; allowed are 'input_uri', "
        )
        assert str(caught.value).endswith(f"; did you mean {right!r}?")


def test_an_unknown_key_like_no_other_gets_the_list_alone() -> None:
    with pytest.raises(ParamsError) as caught:
        check_conf_keys({"zzzzzz": 1}, ["dry_run", "input_uri"])
    assert str(caught.value) == "conf: found the unknown key 'zzzzzz'; allowed are 'dry_run' and 'input_uri'"
