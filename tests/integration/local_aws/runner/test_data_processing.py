"""DataProcessing and data capture: what comes out when predictions are joined to their records and filtered."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local_aws.runner.runner_settings import RunnerSettings
from local_aws.runner.runner_spec import RunnerSpec
from local_aws.runner.transform.data_processing import RecordError, create_processor
from local_aws.runner.transform.selection import FilterError, JsonPath
from local_aws.runner.transform.transform_request import TransformRequest
from tests.integration.local_aws.runner.harness import LINEAR_IMAGE, REPOSITORY, Aws, RunnerResult

ADULT = REPOSITORY / "tests" / "inputs" / "adult"

# The prediction for a CSV row is its length and its first cell; for a JSON record it is an object.
ROWS = """
def model_fn(folder):
    return None

def transform_fn(model, body, content_type, accept):
    rows = [line.split(",") for line in body.splitlines()]
    return "".join(f"{len(row)},{row[0]}\\n" for row in rows), accept
"""
OBJECTS = """
import json
def model_fn(folder):
    return None

def transform_fn(model, body, content_type, accept):
    text = body if isinstance(body, str) else body.decode()
    return "".join(json.dumps({"seen": json.loads(line), "score": 0.5}) + "\\n" for line in text.splitlines()), accept
"""
WHOLE = """
import json
def model_fn(folder):
    return None

def transform_fn(model, body, content_type, accept):
    return json.dumps({"predictions": [x * 2 for x in json.loads(body)["instances"]]}, indent=1), accept
"""


def process(
    aws: Aws, script: str, content_type: str, body: str, split: str = "Line", **given: Any
) -> RunnerResult:
    aws.put_all({"in/a": body})
    lines = {} if split == "None" else {"AssembleWith": "Line"}
    return aws.transform(
        [aws.script(script)],
        transform_input={"ContentType": content_type, "SplitType": split},
        transform_output={"Accept": content_type, **lines},
        **given,
    )


def processed(content_type: str, body: str, processing: dict[str, str], predict: Callable[[str], str]) -> str:
    """What one request with all records gives, without a job around it."""
    request = {
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b/in"}},
            "ContentType": content_type,
            "SplitType": "Line",
        },
        "TransformOutput": {"S3OutputPath": "s3://b/out", "Accept": content_type},
        "DataProcessing": processing,
    }
    spec = RunnerSpec(kind="transform", name="n", arn="a", request=request, work_dir=Path())
    processor = create_processor(TransformRequest.from_spec(spec), RunnerSettings(), "now")
    assert processor is not None
    records = [line.encode() for line in body.splitlines(keepends=True)]
    response = "".join(f"{predict(processor.filter_input(record).decode())}\n" for record in records)
    return processor.build_output(records, response.encode()).decode()


def row_prediction(line: str) -> str:
    cells = line.strip().split(",")
    return f"{len(cells)},{cells[0]}"


def object_prediction(line: str) -> str:
    return json.dumps({"seen": json.loads(line), "score": 0.5})


@pytest.mark.parametrize(
    ("processing", "expected"),
    [
        ({"JoinSource": "Input"}, "1,2,3,3,1\n4,5,6,3,4\n"),
        ({"InputFilter": "$[1:]"}, "2,2\n2,5\n"),
        ({"InputFilter": "$[1:]", "JoinSource": "Input"}, "1,2,3,2,2\n4,5,6,2,5\n"),
        ({"JoinSource": "Input", "OutputFilter": "$[0,-1]"}, "1,1\n4,4\n"),
        ({"JoinSource": "Input", "OutputFilter": "$[ 0 , -1 ]"}, "1,1\n4,4\n"),
        ({"JoinSource": "Input", "OutputFilter": "$[-2:]"}, "3,1\n3,4\n"),
        ({"OutputFilter": "$[1]"}, "1\n4\n"),
    ],
)
def test_csv_rows_are_filtered_joined_and_filtered_again(processing: dict[str, str], expected: str) -> None:
    """The join takes the original row, whatever the input filter took away."""
    assert processed("text/csv", "1,2,3\n4,5,6\n", processing, row_prediction) == expected


def test_csv_cells_with_commas_and_quotes_stay_cells() -> None:
    processing = {"JoinSource": "Input", "OutputFilter": "$[1,0]"}
    assert processed("text/csv", '1,"a, ""b""",3\n', processing, row_prediction) == '"a, ""b""",1\n'


@pytest.mark.parametrize("strategy", ["SingleRecord", "MultiRecord"])
def test_a_job_filters_joins_and_filters_again(aws: Aws, strategy: str) -> None:
    processing = {"InputFilter": "$[1:]", "JoinSource": "Input", "OutputFilter": "$[0,-1]"}
    ended = process(
        aws, ROWS, "text/csv", "1,2,3\n4,5,6\n", DataProcessing=processing, BatchStrategy=strategy
    )
    assert ended.outcome == ("Completed", None)
    assert aws.get("out/a.out") == b"1,2\n4,5\n"


@pytest.mark.parametrize(
    ("processing", "expected"),
    [
        (
            {"JoinSource": "Input"},
            '{"SageMakerOutput":{"score":0.5,"seen":{"features":[1,2],"id":7}},"features":[1,2],"id":7}\n',
        ),
        (
            {"InputFilter": "$.features", "JoinSource": "Input", "OutputFilter": "$['id','SageMakerOutput']"},
            '{"SageMakerOutput":{"score":0.5,"seen":[1,2]},"id":7}\n',
        ),
        ({"InputFilter": "$.features[0]", "OutputFilter": "$.seen"}, "1\n"),
        ({"InputFilter": "$.*", "OutputFilter": "$['seen'][*]"}, "[7,[1,2]]\n"),
        ({"OutputFilter": "$.seen.features[0:]"}, "[1,2]\n"),
        ({"OutputFilter": "$.seen['features'][-1]"}, "2\n"),
    ],
)
def test_json_lines_are_filtered_joined_and_filtered_again(processing: dict[str, str], expected: str) -> None:
    record = '{"id": 7, "features": [1, 2]}\n'
    assert processed("application/jsonlines", record * 2, processing, object_prediction) == expected * 2


def test_a_record_that_is_no_object_is_joined_as_sagemaker_input() -> None:
    made = processed("application/jsonlines", "[1, 2]\n", {"JoinSource": "Input"}, object_prediction)
    assert json.loads(made) == {
        "SageMakerInput": [1, 2],
        "SageMakerOutput": {"score": 0.5, "seen": [1, 2]},
    }


def test_a_json_object_without_splitting_is_one_record(aws: Aws) -> None:
    body = '{\n "instances": [1, 2],\n "id": 3}'
    process(aws, WHOLE, "application/json", body, "None", DataProcessing={"JoinSource": "Input"})
    assert aws.get("out/a.out") == b'{"SageMakerOutput":{"predictions":[2,4]},"id":3,"instances":[1,2]}'


@pytest.mark.parametrize(
    ("content_type", "body", "processing", "words"),
    [
        (
            "text/csv",
            "1,2\n",
            {"OutputFilter": "$[0:2,5:]"},
            "filters of format (eg: [1:5]) are supported. Format [0:2,5:] is not supported",
        ),
        ("text/csv", "1,2\n", {"InputFilter": "$[5]"}, "index 5 is out of range, 2 elements"),
        ("text/csv", 'a"b,1\n', {"InputFilter": "$[0]"}, 'bare " in non quoted field found near: a"b,1'),
        ("application/jsonlines", '{"a": 1}\n', {"InputFilter": "$.b"}, "no member 'b' in the record"),
        ("application/jsonlines", "{a}\n", {"InputFilter": "$.a"}, "Failed to parse input as JSON"),
    ],
)
def test_a_filter_that_does_not_fit_says_why(
    content_type: str, body: str, processing: dict[str, str], words: str
) -> None:
    predict = row_prediction if content_type == "text/csv" else object_prediction
    with pytest.raises((FilterError, RecordError), match=re.escape(words)):
        processed(content_type, body, processing, predict)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("$[0:2,5:]", "Invalid JsonPath: $[0:2,5:]: only single range filters"),
        ("$[5]", "index 5 is out of range"),
    ],
)
def test_a_filter_that_fails_loses_the_object_and_the_data_log_says_why(
    aws: Aws, path: str, words: str
) -> None:
    ended = process(aws, ROWS, "text/csv", "1,2\n", DataProcessing={"OutputFilter": path})
    assert ended.outcome == ("Failed", "ClientError: See job logs for more information")
    assert aws.keys("out/") == []
    told = aws.data_log()
    assert any(f"{aws.bucket}/in/a: " in line and words in line for line in told), told


def test_predictions_that_are_fewer_than_records_cannot_be_joined(aws: Aws) -> None:
    fewer = ROWS.replace("for row in rows", "for row in rows[1:]")
    ended = process(aws, fewer, "text/csv", "1,2\n3,4\n", DataProcessing={"JoinSource": "Input"})
    assert ended.outcome == ("Failed", "ClientError: See job logs for more information")
    assert aws.keys("out/") == []


@pytest.mark.parametrize(("end", "expected"), [("inclusive", [2, 3, 4]), ("exclusive", [2, 3])])
def test_whether_a_range_includes_its_end_is_a_setting(end: str, expected: list[int]) -> None:
    assert JsonPath("$[1:3]", inclusive_end=end == "inclusive").apply([1, 2, 3, 4, 5]) == expected


def test_a_range_may_be_open_or_negative() -> None:
    row = [1, 2, 3, 4]
    for path, expected in {"$[1:]": [2, 3, 4], "$[-2:]": [3, 4], "$[:-2]": [1, 2], "$[ 1 : 2 ]": [2]}.items():
        assert JsonPath(path, inclusive_end=False).apply(row) == expected


@pytest.mark.parametrize("path", ["id", "$..a", "$[a]", "$['a'", "$[1:2:3]", "$[]"])
def test_what_is_no_path_is_refused_by_name(path: str) -> None:
    with pytest.raises(FilterError, match=re.escape(path)):
        JsonPath(path, inclusive_end=True)


def test_inference_ids_are_appended_to_rows_and_the_capture_names_inputs_and_outputs(aws: Aws) -> None:
    capture = {"DestinationS3Uri": aws.uri("captured"), "GenerateInferenceId": True}
    aws.put_all({"in/sub/b": "5,6\n"})
    process(
        aws, ROWS, "text/csv", "1,2\n3,4\n", DataProcessing={"JoinSource": "Input"}, DataCaptureConfig=capture
    )
    rows = [line.split(",") for line in aws.get("out/a.out").decode().splitlines()]
    assert [row[:4] for row in rows] == [["1", "2", "2", "1"], ["3", "4", "2", "3"]]
    assert len({uuid.UUID(row[4]) for row in rows}) == 2
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row[5]) for row in rows)
    captured = {
        re.sub(r"\d{4}/\d\d/\d\d/\d\d/[-0-9a-f]{36}", "when", name): json.loads(body)
        for name, body in aws.tree("captured/").items()
    }
    assert captured == {
        "input/when.json": [{"prefix": aws.uri("in/")}, "a", "sub/b"],
        "output/when.json": [{"prefix": aws.uri("out/")}, "a.out", "sub/b.out"],
    }


def test_inference_ids_become_members_of_json_records(aws: Aws) -> None:
    capture = {"DestinationS3Uri": aws.uri("captured"), "GenerateInferenceId": True}
    process(aws, OBJECTS, "application/jsonlines", '{"id": 1}\n', DataCaptureConfig=capture)
    made = json.loads(aws.get("out/a.out"))
    assert list(made) == ["SageMakerInferenceId", "SageMakerInferenceTime", "score", "seen"]


def adult(name: str) -> bytes:
    return (ADULT / name).read_bytes()


@pytest.mark.parametrize("strategy", ["SingleRecord", "MultiRecord"])
def test_real_aws_output_is_reproduced_natively_joined(aws: Aws, strategy: str) -> None:
    """A Linear Learner artefact, records and answers recorded on AWS: scores to 1e-6, labels exactly."""
    aws.put_all({"in/input.jsonl": adult("input.jsonl"), "model.tar.gz": adult("model.tar.gz")})
    expected = [json.loads(line) for line in adult("expected.jsonl").splitlines()]
    records = [json.loads(line) for line in adult("input.jsonl").splitlines()]
    ended = aws.transform(
        [{"Image": LINEAR_IMAGE, "ModelDataUrl": aws.uri("model.tar.gz")}],
        transform_input={"ContentType": "application/jsonlines", "SplitType": "Line"},
        transform_output={"Accept": "application/jsonlines", "AssembleWith": "Line"},
        DataProcessing={"JoinSource": "Input"},
        BatchStrategy=strategy,
    )
    assert ended.outcome == ("Completed", None)
    joined = [json.loads(line) for line in aws.get("out/input.jsonl.out").splitlines()]
    assert [list(row) for row in joined] == [["SageMakerOutput", "features"]] * 20
    assert [row["features"] for row in joined] == [row["features"] for row in records]
    assert [row["SageMakerOutput"]["predicted_label"] for row in joined] == [
        row["predicted_label"] for row in expected
    ]
    assert [row["SageMakerOutput"]["score"] for row in joined] == pytest.approx(
        [row["score"] for row in expected], abs=1e-6
    )


def test_real_aws_output_is_reproduced_without_a_join(aws: Aws) -> None:
    aws.put_all({"in/input.jsonl": adult("input.jsonl"), "model.tar.gz": adult("model.tar.gz")})
    aws.transform(
        [{"Image": LINEAR_IMAGE, "ModelDataUrl": aws.uri("model.tar.gz")}],
        transform_input={"ContentType": "application/jsonlines", "SplitType": "Line"},
        transform_output={"Accept": "application/jsonlines", "AssembleWith": "Line"},
    )
    lines = aws.get("out/input.jsonl.out").decode().splitlines()
    expected = [json.loads(line) for line in adult("expected.jsonl").splitlines()]
    # As AWS writes JSON Lines: members sorted, no spaces, no more than 15 decimals.
    assert all(re.fullmatch(r'\{"predicted_label":[01],"score":0\.\d{1,15}\}', line) for line in lines), lines
    made = [json.loads(line) for line in lines]
    assert [row["predicted_label"] for row in made] == [row["predicted_label"] for row in expected]
    assert [row["score"] for row in made] == pytest.approx([row["score"] for row in expected], abs=1e-6)
