"""A pipeline file becomes a frozen object, or an error naming file, line, field, what was found and what is allowed."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import yaml

from batch_inference.common.errors import PipelineError
from batch_inference.common.formatting import join_quoted
from batch_inference.config.pipeline import Pipeline, load_pipeline
from tests.unit.builders import EXAMPLE, TWO_CONTAINERS, document, example, pipeline


def written(folder: Path, changes: dict[str, Any]) -> Path:
    file = folder / "churn.yaml"
    file.write_text(yaml.safe_dump(document(changes), sort_keys=False))
    return file


def problem(folder: Path, changes: dict[str, Any]) -> str:
    """The message about the only problem of the changed file, without file and line."""
    with pytest.raises(PipelineError) as caught:
        load_pipeline(written(folder, changes))
    assert caught.value.file == str(folder / "churn.yaml")
    assert len(caught.value.problems) == 1, caught.value.problems
    head, _, rest = caught.value.problems[0].partition(", ")
    assert head.startswith("line ")
    return rest


def test_the_example_reads_as_its_comments_say() -> None:
    read = example()
    assert read.name == "abalone"
    assert read.column_names == (
        "sex", "length", "diameter", "height", "whole_weight", "shucked_weight", "viscera_weight", "shell_weight",
        "rings",
    )  # fmt: skip
    assert read.feature_columns == read.column_names[:-1]
    assert [rule.get_label() for rule in read.rules] == [
        "sex known", "whole weight present", "height possible", "no duplicates",
    ]  # fmt: skip
    assert (read.max_payload_mb, read.on_empty, read.join.format) == (5, "skip", "parquet")
    assert read.predictions.fields == {"score": "predicted_rings"}
    assert [container.model_data for container in read.model.containers] == [
        "s3://batch-inference-sample/abalone/model/featurizer.tar.gz",
        "s3://batch-inference-sample/abalone/model/linear-learner.tar.gz",
    ]
    assert read.model.containers[0].environment == {
        "SAGEMAKER_PROGRAM": "inference.py",
        "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code",
        "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT": "text/csv",
    }


def test_two_loads_of_one_file_are_equal() -> None:
    assert load_pipeline(EXAMPLE) == load_pipeline(EXAMPLE)


def test_each_host_gets_all_input_only_where_hosts_cannot_exchange_keys() -> None:
    """For a duplicates rule, which compares the records of all objects."""
    duplicates = {"rules": [{"name": "once", "rule": "duplicates"}]}
    isolated = {"security.network_isolation": True}
    assert example().s3_data_distribution_type == "ShardedByS3Key"
    assert pipeline({**duplicates, **isolated}).s3_data_distribution_type == "FullyReplicated"
    assert pipeline(isolated).s3_data_distribution_type == "ShardedByS3Key"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"on_emty": "skip"},
            (f"on_emty: found an unknown key; allowed are {join_quoted(Pipeline.model_fields, conjunction='and')}; "
            "did you mean 'on_empty'?"),
        ),
        (
            {"transform.maxinstances": 3},
            ("transform.maxinstances: found an unknown key; allowed are 'instance_type', "
             "'instance_types', 'max_instances', "
            "'max_runtime_minutes', 'batch_strategy', 'max_payload_mb', 'max_concurrent_transforms', "
            "'timeout_seconds', 'retries', 'environment', 'accept', "
            "'assemble_with', 'on_bad_records', 'input_filter' and 'max_jobs'; did you mean 'max_instances'?"),
        ),
        (
            {"join.format": "parket"},
            "join.format: found 'parket'; allowed is 'parquet', 'csv' or 'jsonlines'; did you mean 'parquet'?",
        ),
        ({"role": None}, "role: is missing (ARN of the role that SageMaker's jobs assume)"),
        (
            {"transform.max_instances": 0},
            "transform.max_instances: found 0; allowed is a number of at least 1",
        ),
        (
            {"transform.max_instances": 101},
            "transform.max_instances: found 101; allowed is a number of at most 100",
        ),
        (
            {"transform.max_instances": "four"},
            "transform.max_instances: found 'four'; allowed is a whole number",
        ),
        ({"input.uri": "/data/in"}, "input.uri: found '/data/in'; allowed is an S3 URI such as s3://bucket/prefix/"),
        (
            {"output.uri": "s3://data/{dat}/"},
            ("output.uri: found the unknown placeholder {dat} in 's3://data/{dat}/'; allowed are "
             "'{date}', '{hour}' and "
            "'{run_id}'; did you mean 'date'?"),
        ),
        (
            {"output.uri": "s3://data/{{ ds }}/"},
            ("output.uri: found double braces in 's3://data/{{ ds }}/': Airflow's templates are not rendered here, "
            "because {{ ds }} does not exist in a run without a logical date; allowed are "
            "'{date}', '{hour}' and '{run_id}'"),
        ),
        (
            {"work": "s3://data/{date}/work"},
            ("work: found the placeholder {date} in 's3://data/{date}/work'; allowed is a fixed "
             "prefix, because each run "
            "gets a folder of its own below it"),
        ),
        (
            {"output.uri": "s3://data/in/scored/"},
            ("output.uri: found 's3://data/in/scored/' below the input 's3://data/in/', so the "
             "next run would read what "
            "this one wrote; choose another prefix"),
        ),
        (
            {"model": {}},
            "model: found none of them; allowed is one of name, package, group, containers",
        ),
        (
            {"model": {"name": "a", **TWO_CONTAINERS}},
            "model: found name and containers; allowed is one of name, package, group, containers",
        ),
        (
            {"goals.calibrate": "canary"},
            ("goals.calibrate: found canary with transform.on_bad_records reject; the search for refused records "
            "cannot include the shard of the canary; write on_bad_records: fail, or calibrate: defaults"),
        ),
        (
            {"goals.explore_share": 0.1},
            ("goals.explore_share: found explore_share with calibrate: defaults, which tries nothing; write calibrate: "
            "explore, or drop it"),
        ),
        (
            {"model": {"name": "a", "version": 3}},
            "model: found version with name; it picks a version of a group",
        ),
        (
            {"model": {"group": "a", "version": 3, "alias": "b"}},
            "model: found version and alias; allowed is one of them",
        ),
        (
            {"model": TWO_CONTAINERS, "transform.max_payload_mb": 6},
            ("transform.max_payload_mb: found 6; allowed is at most 5 with 2 containers, because requests between "
            "containers are limited to 5 MB"),
        ),
        (
            {"transform.max_payload_mb": 20, "transform.max_concurrent_transforms": 6},
            ("transform: found max_payload_mb 20 times max_concurrent_transforms 6 = 120; allowed "
             "is at most 100; lower "
            "max_concurrent_transforms to 5"),
        ),
        (
            {"input.columns": [{"name": "id"}, {"name": "age", "optional": True}, {"name": "x"}]},
            "input.columns: found 'x' after an optional column; only the last columns may be optional",
        ),
        (
            {"input.columns": [{"name": "id"}, {"name": "id"}]},
            "input.columns: found the column name 'id' more than once; names must differ",
        ),
        (
            {"features": {"columns": ["label"]}},
            "features.columns: found 'label'; the columns that are always there are id, age; did you mean 'age'?",
        ),
        (
            {"predictions.fields": {"score": "age"}},
            "predictions.fields: found the output column 'age', which the input already has",
        ),
        (
            {"predictions": {"format": "csv", "fields": {"score": "churn"}}},
            "predictions: found the field 'score'; csv predictions have no names, so a field is a position such as '0'",
        ),
        (
            {"predictions": {"format": "csv", "fields": {"0": "churn"}, "echo": {"id": "id"}}},
            "predictions: found the field 'id'; csv predictions have no names, so a field is a position such as '0'",
        ),
        (
            {"input.format": "parquet", "input.header": True},
            "input: found header: true with format parquet; only csv has a line of column names",
        ),
        (
            {"input.format": "jsonlines", "input.escape": "\\"},
            "input: found escape with format jsonlines; only csv has quotes to escape",
        ),
        (
            {"input.escape": ";", "input.delimiter": ";"},
            "input: found ';' as escape and as delimiter; allowed are characters that differ",
        ),
        (
            {"input.format": "parquet", "input.compression": "gzip"},
            "input: found compression gzip with format parquet, which compresses its own pages; write none",
        ),
        (
            {"predictions.echo": {"key": "idd"}},
            "predictions.echo: found 'idd'; the input's columns are id, age, label; did you mean 'id'?",
        ),
        (
            {"predictions.types": {"chrn": "string"}},
            "predictions.types: found 'chrn'; the output columns of fields are churn; did you mean 'churn'?",
        ),
        (
            {"goals": {"deadline": "noon"}},
            (
                "goals.deadline: found 'noon'; allowed are minutes from the start of the run, such as 90, or a time of "
                "day in UTC, such as '06:00'"
            ),
        ),
        ({"goals": {"budget": 0}}, "goals.budget: found 0; allowed is a number above 0"),
        (
            {"schedule": "0 2 * *"},
            "schedule: found '0 2 * *'; allowed is a cron expression of five fields, or a preset such as '@daily'",
        ),
        (
            {"rules": [{"rule": "rnge", "column": "age", "min": 1}]},
            ("rules[0]: found rule 'rnge'; allowed is 'allowed', 'range', 'required', "
             "'duplicates', 'pattern' or 'outlier'; "
            "did you mean 'range'?"),
        ),
        (
            {"rules": [{"rule": "range", "column": "agee", "min": 1}]},
            "rules[0]: found 'agee'; the input's columns are id, age, label; did you mean 'age'?",
        ),
        (
            {"rules": [{"rule": "range", "column": "id", "min": 1}]},
            "rules[0]: id is a string; a range needs a float, integer, decimal, date or timestamp column",
        ),
        (
            {"rules": [{"rule": "range", "column": "age", "min": 5, "max": 1}]},
            "rules[0]: found min 5 and max 1; no value lies between them",
        ),
        (
            {"rules": [{"rule": "range", "column": "age", "max": float("inf")}]},
            "rules[0].max: found inf; allowed is a finite number",
        ),
        (
            {"rules": [{"rule": "range", "column": "age", "max": 10**400}]},
            "rules[0].max: found 1" + "0" * 76 + "…; allowed is a number",
        ),
        (
            {"rules": [{"rule": "allowed", "column": "id", "values": ["a", True]}]},
            ("rules[0].values[1]: found true; allowed are texts and numbers; quote the text, so that YAML does not "
            "read it as a boolean"),
        ),
        (
            {"rules": [{"rule": "duplicates"}, {"rule": "duplicates", "key": ["id"]}]},
            "rules[1].name: found 'no duplicates' twice; rejects are counted by name, so give each its own",
        ),
        (
            {"rules": [{"name": "arity", "rule": "required", "columns": ["id"]}]},
            "rules[0].name: found 'arity', which names a rule that is always applied; choose another",
        ),
        (
            {"rules": [{"rule": "pattern", "column": "id", "pattern": "("}]},
            ("rules[0]: found the pattern '(', which is not a regular expression: missing ), "
             "unterminated subpattern at "
            "position 0"),
        ),
        ({"description": 3}, "description: found 3; allowed is a text; quote it: \"3\""),
        ({"transform.max_instances": "4"},
         "transform.max_instances: found '4'; allowed is a whole number; write it without quotes: 4"),
        ({"description": True},
         "description: found true; allowed is a text; quote the text, so that YAML does not read it as a boolean"),
        (
            {"gates": [{"column": "churn", "then": "warn"}]},
            "gates[0]: the key 'gate' is missing; it says which kind of gate this is",
        ),
        (
            {"gates": [{"gate": "nuls", "column": "churn", "then": "warn"}]},
            ("gates[0]: found gate 'nuls'; allowed is 'nulls', 'range', 'constant', 'rows', 'drift' or "
            "'group_rejects'; did you mean 'nulls'?"),
        ),
        (
            {"gates": [{"gate": "nulls", "column": "churn", "max_share": 0.1, "moost": 1, "then": "warn"}]},
            "gates[0].moost: found an unknown key; allowed are 'then', 'gate', 'column' and 'max_share'",
        ),
        (
            {"gates": [{"gate": "rows", "rows": 1, "min_ratio": 0.5, "then": "warn"}]},
            ("gates[0].rows: found an unknown key; allowed are 'then', 'gate', 'min_ratio', 'max_ratio' and 'runs'; "
            "did you mean 'runs'?"),
        ),
        (
            {"gates": [{"gate": "nulls", "column": "churn", "nulls": {"max_share": 1}, "max_share": 1, "then": "warn"}
             ]},
            "gates[0].nulls: found an unknown key; allowed are 'then', 'gate', 'column' and 'max_share'",
        ),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named_with_what_was_found_and_what_is_allowed(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    assert problem(tmp_path, changes) == message


def test_the_line_of_a_wrong_field_is_given(tmp_path: Path) -> None:
    file = tmp_path / "churn.yaml"
    file.write_text(EXAMPLE.read_text().replace("max_instances: 4", "max_instances: 400"))
    line = 1 + file.read_text().splitlines().index(
        next(each for each in file.read_text().splitlines() if "max_instances: 400" in each)
    )
    with pytest.raises(PipelineError) as caught:
        load_pipeline(file)
    assert str(caught.value) == (
        f"{file}: line {line}, transform.max_instances: found 400; allowed is a number of at most 100"
    )


def test_a_wrong_key_of_a_gate_has_its_own_line(tmp_path: Path) -> None:
    gates = [{"gate": "nulls", "column": "churn", "then": "warn", "moost": 1}]
    file = written(tmp_path, {"gates": gates})
    line = 1 + file.read_text().splitlines().index("  moost: 1")
    with pytest.raises(PipelineError) as caught:
        load_pipeline(file)
    missing, unknown = caught.value.problems
    assert unknown.startswith(f"line {line}, gates[0].moost: found an unknown key")
    assert missing.endswith("gates[0].max_share: is missing (largest share of rows without a prediction)")


def test_all_problems_of_a_file_are_told_at_once_in_its_order(tmp_path: Path) -> None:
    with pytest.raises(PipelineError) as caught:
        load_pipeline(written(tmp_path, {"role": "me", "join.format": "xml", "input.header": "perhaps"}))
    fields = [text.split(", ", 1)[1].split(":")[0] for text in caught.value.problems]
    assert fields == ["role", "input.header", "join.format"]
    assert str(caught.value).startswith(f"{tmp_path / 'churn.yaml'}: 3 problems\n  - line ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\nname: b\n", "line 2: found the key 'name' again, after line 1; allowed is once"),
        ("input:\n  uri: a\n  uri: b\n", "line 3: found the key 'uri' again, after line 2; allowed is once"),
        ("name: [a\n", "line 2, column 1: not valid YAML: expected ',' or ']', but got '<stream end>'"),
        ("", "found nothing; allowed is a mapping of keys such as name, role and work"),
        ("- a\n", "found a list; allowed is a mapping of keys such as name, role and work"),
        ("? [a, b]\n: c\n", "line 1: a key must be a plain word"),
        (
            "name: !!python/object/apply:os.system [ls]\n",
            (
                "line 1, column 7: not valid YAML: found the tag 'tag:yaml.org,2002:python/object/apply:os.system'; "
                "allowed are values without a tag"
            ),
        ),
        ("a: &a [*a]\n", "line 1: an alias that contains itself is not allowed"),
    ],
)
def test_text_that_is_no_plain_yaml_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "churn.yaml"
    file.write_text(text)
    with pytest.raises(PipelineError) as caught:
        load_pipeline(file)
    assert caught.value.problems == (message,)


def test_plain_words_mean_what_they_mean_in_an_editor(tmp_path: Path) -> None:
    """PyYAML's YAML 1.1 would read these as false, true, 1350 minutes and 10."""
    file = tmp_path / "churn.yaml"
    text = yaml.safe_dump(
        document({"rules": [{"rule": "allowed", "column": "id", "values": ["@"]}]}), sort_keys=False
    )
    file.write_text(text.replace("'@'", "N\n  - yes\n  - 012\n  - 12") + "on_empty: skip\n")
    file.write_text(file.read_text().replace("prefer: speed", "prefer: speed\n  deadline: 22:30"))
    read = load_pipeline(file)
    assert read.rules[0].to_job_config()["values"] == ["N", "yes", "012", "12"]
    assert read.goals.deadline == "22:30"


def test_a_bound_of_a_range_reaches_the_job_to_the_digit(tmp_path: Path) -> None:
    """A float would make 9007199254740992 of it."""
    rule = {"rule": "range", "column": "age", "min": 9007199254740993, "max": 1e17}
    (job,) = [one.to_job_config() for one in load_pipeline(written(tmp_path, {"rules": [rule]})).rules]
    assert json.loads(json.dumps(job)) == {
        "name": "age in range",
        "kind": "range",
        "min": 9007199254740993,
        "max": 1e17,
        "exclusive_min": False,
        "exclusive_max": False,
    }
    assert type(job["min"]) is int


def test_a_file_that_is_absent_is_an_error_of_the_same_kind(tmp_path: Path) -> None:
    with pytest.raises(PipelineError) as caught:
        load_pipeline(tmp_path / "nothing.yaml")
    assert str(caught.value) == f"{tmp_path / 'nothing.yaml'}: cannot be read: No such file or directory"


def test_the_error_survives_pickling(tmp_path: Path) -> None:
    with pytest.raises(PipelineError) as caught:
        load_pipeline(written(tmp_path, {"role": "me", "join.format": "xml"}))
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), again.args, str(again)) == (PipelineError, caught.value.args, str(caught.value))


def test_payload_defaults_to_what_the_model_can_take() -> None:
    assert pipeline().max_payload_mb == 6
    assert pipeline({"model": TWO_CONTAINERS}).max_payload_mb == 5
    assert pipeline({"transform.max_payload_mb": 50}).max_payload_mb == 50


def test_an_output_among_the_files_of_runs_is_refused_for_it_would_be_deleted_with_them(
    tmp_path: Path,
) -> None:
    assert problem(tmp_path, {"output.uri": "s3://data/work/churn/{run_id}/scored/"}) == (
        "output.uri: found 's3://data/work/churn/{run_id}/scored/' below 's3://data/work/churn/', where each run keeps "
        "its own files, which are deleted after keep_runs_days; choose another prefix"
    )
