"""Transform jobs: how objects become requests, and responses objects."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.local_aws.runner.harness import Aws, wait_until
from tools.benchmarks.embedded_aws import ECHO

CSV_LINES = {"ContentType": "text/csv", "SplitType": "Line"}
CSV_OUT = {"Accept": "text/csv", "AssembleWith": "Line"}

# Answers one JSON line that tells what the request was.
TELL = """
import hashlib, json, os, time
def model_fn(folder):
    return None
def transform_fn(model, body, content_type, accept):
    raw = body.encode() if isinstance(body, str) else body
    seen = {"bytes": len(raw), "lines": raw.count(b"\\n"), "type": content_type, "accept": accept}
    seen["first"] = raw[:5].decode()
    return json.dumps(seen) + "\\n", "application/json"
"""


def header_image(aws: Aws) -> dict[str, Any]:
    """Settings of a job whose image is the header server."""
    return {"images_file": server_image(aws, "headers:1", "header_server.py")}


def server_image(aws: Aws, pattern: str, script: str) -> str:
    """An images file whose only image is a server beside this file."""
    path = Path(__file__).with_name(script)
    serve = ["{python}", "-I", "-S", str(path)]
    return aws.images_file({"pattern": pattern, "serve": serve, "mounts": [str(path.parent)]})


def requests_seen(aws: Aws, key: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in aws.get(key).splitlines()]


def test_every_object_becomes_an_out_object_below_the_output_path(aws: Aws) -> None:
    """The name is what follows the folder, sub-folders included."""
    aws.put_all({"in/a.csv": "1\n2\n", "in/deep/b.csv": "3\n"})
    ended = aws.transform([aws.script(ECHO)], transform_input=CSV_LINES, transform_output=CSV_OUT)
    assert ended.outcome == ("Completed", None)
    assert aws.tree("out/") == {"a.csv.out": b"1\n2\n", "deep/b.csv.out": b"3\n"}


def test_a_prefix_is_the_beginning_of_keys_and_folder_keys_are_left_out(aws: Aws) -> None:
    aws.put_all({"in/part": "1\n", "in/part_two/x": "2\n", "in/part_two/": "", "in/other": "3\n"})
    aws.transform([aws.script(ECHO)], source="in/part", transform_input=CSV_LINES, transform_output=CSV_OUT)
    assert aws.tree("out/") == {"part.out": b"1\n", "part_two/x.out": b"2\n"}


@pytest.mark.parametrize("data_type", ["S3Prefix", "ManifestFile"])
@pytest.mark.parametrize(
    ("source", "key"),
    [
        ("zz/batch_input", "zz/batch_input/iris_sample_X_0.csv"),
        ("zz/batch_input/", "zz/batch_input/iris_sample_X_0.csv"),
        ("batch_input", "batch_input/iris_sample_X_0.csv"),
        # An exact key.
        ("zz/iris_sample_X_0.csv", "zz/iris_sample_X_0.csv"),
    ],
)
def test_outputs_lie_directly_below_the_output_path_as_aws_was_recorded(
    aws: Aws, source: str, key: str, data_type: str
) -> None:
    """With a slash at the end of S3Uri or, as the SDK's upload_data returns it, without one; also by a manifest of a
    prefix alone. Data capture names the same outputs."""
    aws.put_all({key: "1\n"})
    if data_type == "ManifestFile":
        aws.put(manifest=json.dumps([{"prefix": aws.uri(source)}]))
        source = "manifest"
    ended = aws.transform(
        [aws.script(ECHO)], source=source, data_type=data_type, transform_input=CSV_LINES, transform_output=CSV_OUT,
        DataCaptureConfig={"DestinationS3Uri": aws.uri("captured")},
    )  # fmt: skip
    assert ended.outcome == ("Completed", None)
    assert aws.keys("out") == ["out/iris_sample_X_0.csv.out"]
    (captured,) = [aws.get(name) for name in aws.keys("captured/output/")]
    assert json.loads(captured) == [{"prefix": aws.uri("out/")}, "iris_sample_X_0.csv.out"]


@pytest.mark.parametrize(
    ("setting", "outputs"),
    [
        ("last_slash", {"a.out", "b.csv.out", "deep/d.csv.out", "ax.csv.out", "ay/z.csv.out"}),
        ("prefix", {"a.out", "b.csv.out", "deep/d.csv.out", "x.csv.out", "y/z.csv.out"}),
    ],
)
def test_what_no_recording_shows_of_a_prefix_is_a_setting(aws: Aws, setting: str, outputs: set[str]) -> None:
    """A prefix that is a folder, an object, and the beginning of other names."""
    aws.put_all(dict.fromkeys(("in/a", "in/a/b.csv", "in/a/deep/d.csv", "in/ax.csv", "in/ay/z.csv"), "1\n"))
    aws.transform(
        [aws.script(ECHO)],
        source="in/a",
        transform_input=CSV_LINES,
        transform_output=CSV_OUT,
        settings={"partial_prefix": setting},
    )
    assert aws.tree("out/").keys() == outputs


def test_a_manifest_names_the_objects_and_their_outputs(aws: Aws) -> None:
    aws.put_all({"in/x/a": "1\n", "in/x/b": "2\n", "in/y/c": "3\n"})
    aws.put(manifest=json.dumps([{"prefix": aws.uri("in/")}, "x/a", "y/c"]))
    aws.transform(
        [aws.script(ECHO)],
        source="manifest",
        data_type="ManifestFile",
        transform_input=CSV_LINES,
        transform_output=CSV_OUT,
    )
    assert aws.tree("out/") == {"x/a.out": b"1\n", "y/c.out": b"3\n"}


def test_without_splitting_the_object_is_one_request(aws: Aws) -> None:
    aws.put_all({"in/a": "1\n2\n3\n"})
    aws.transform(
        [aws.script(TELL)],
        transform_input={"ContentType": "text/csv"},
        transform_output={"Accept": "text/csv"},
    )
    assert requests_seen(aws, "out/a.out") == [
        {"bytes": 6, "lines": 3, "type": "text/csv", "accept": "text/csv", "first": "1\n2\n3"}
    ]


def test_single_record_sends_a_line_a_request(aws: Aws) -> None:
    aws.put_all({"in/a": "1\n22\n333"})
    aws.transform([aws.script(TELL)], transform_input=CSV_LINES, BatchStrategy="SingleRecord")
    assert [(seen["bytes"], seen["first"]) for seen in requests_seen(aws, "out/a.out")] == [
        (2, "1\n"),
        (3, "22\n"),
        (3, "333"),
    ]


def test_multi_record_fills_requests_up_to_the_payload(aws: Aws) -> None:
    """With MB of 10 bytes, lines of 4 bytes go two by two."""
    aws.put_all({"in/a": "abc\n" * 5})
    aws.transform([aws.script(TELL)], transform_input=CSV_LINES, MaxPayloadInMB=1, settings={"mb_bytes": 10})
    assert [seen["lines"] for seen in requests_seen(aws, "out/a.out")] == [2, 2, 1]


def test_payload_zero_sends_everything_in_one_chunked_request(aws: Aws) -> None:
    aws.put_all({"in/a": "abc\n" * 500_000})
    for split in ({"SplitType": "Line"}, {}):
        aws.transform(
            [aws.script(TELL)], transform_input={"ContentType": "text/csv", **split}, MaxPayloadInMB=0
        )
        assert [seen["bytes"] for seen in requests_seen(aws, "out/a.out")] == [2_000_000]


def test_gzip_is_unpacked_before_splitting_and_stays_in_the_name(aws: Aws) -> None:
    two_members = gzip.compress(b"1\n2") + gzip.compress(b"2\n3\n")
    aws.put_all({"in/a.csv.gz": two_members})
    aws.transform(
        [aws.script(ECHO)], transform_input={**CSV_LINES, "CompressionType": "Gzip"}, transform_output=CSV_OUT
    )
    assert aws.tree("out/") == {"a.csv.gz.out": b"1\n22\n3\n"}


@pytest.mark.parametrize(
    ("assemble", "always", "expected"),
    [("None", False, b"abc"), ("Line", False, b"a\nb\nc\n"), ("Line", True, b"a\nb\nc\n")],
)
def test_assemble_with_line_ends_every_response_with_a_newline(
    aws: Aws, assemble: str, always: bool, expected: bytes
) -> None:
    strip = ECHO.replace("return data, accept", "return data.strip(), accept")
    aws.put_all({"in/a": "a\nb\nc\n"})
    aws.transform(
        [aws.script(strip)],
        transform_input=CSV_LINES,
        transform_output={"Accept": "text/csv", "AssembleWith": assemble},
        BatchStrategy="SingleRecord",
        settings={"assemble_line_always": always},
    )
    assert aws.get("out/a.out") == expected


def test_whether_a_newline_is_doubled_is_a_setting(aws: Aws) -> None:
    aws.put_all({"in/a": "a\nb\n"})
    aws.transform(
        [aws.script(ECHO)],
        transform_input=CSV_LINES,
        transform_output=CSV_OUT,
        BatchStrategy="SingleRecord",
        settings={"assemble_line_always": True},
    )
    assert aws.get("out/a.out") == b"a\n\nb\n\n"


def test_order_is_kept_with_many_requests_at_a_time_and_over_many_objects(aws: Aws) -> None:
    """The script sleeps longest for the first records."""
    slow = """
import time
def model_fn(folder):
    return None
def transform_fn(model, body, content_type, accept):
    time.sleep(0.12 / (1 + int(body)))
    return "<" + body, accept
"""
    objects = {f"in/{name}": "".join(f"{number}\n" for number in range(8)) for name in "abc"}
    aws.put_all(dict(objects))
    ended = aws.transform(
        [aws.script(slow)],
        transform_input=CSV_LINES,
        transform_output=CSV_OUT,
        BatchStrategy="SingleRecord",
        MaxConcurrentTransforms=8,
    )
    expected = "".join(f"<{number}\n" for number in range(8)).encode()
    assert aws.tree("out/") == {f"{name}.out": expected for name in "abc"}
    assert (ended.instances[0]["requests"], ended.instances[0]["records"]) == (24, 24)


@pytest.mark.parametrize("assignment", ["contiguous", "round_robin", "hash"])
def test_instances_share_the_objects_and_the_result_is_the_same(aws: Aws, assignment: str) -> None:
    objects = {f"in/{number}": f"{number}\n" for number in range(7)}
    aws.put_all(dict(objects))
    ended = aws.transform(
        [aws.script(ECHO)],
        transform_input=CSV_LINES,
        transform_output=CSV_OUT,
        instances=3,
        settings={"assignment": assignment},
    )
    assert aws.tree("out/") == {f"{number}.out": f"{number}\n".encode() for number in range(7)}
    assert [item["host"] for item in ended.instances] == ["algo-1", "algo-2", "algo-3"]
    assert sum(item["objects"] for item in ended.instances) == 7
    if assignment != "hash":
        assert sorted(item["objects"] for item in ended.instances) == [2, 2, 3]


def test_parameters_come_from_the_request_then_the_container_then_the_defaults(aws: Aws) -> None:
    offers = TELL + (
        "\ndef execution_parameters_fn():\n"
        '    return {"MaxConcurrentTransforms": 3, "BatchStrategy": "SINGLE_RECORD", "MaxPayloadInMB": 2}\n'
    )
    aws.put_all({"in/a": "1\n2\n"})
    told = []
    for number, (script, given) in enumerate(
        [
            (TELL, {}),
            (offers, {}),
            (offers, {"BatchStrategy": "MultiRecord", "MaxPayloadInMB": 5}),
            (offers, {"MaxConcurrentTransforms": 0}),
        ]
    ):
        name = f"{aws.job}-{number}"
        aws.transform([aws.script(script)], name=name, transform_input=CSV_LINES, **given)
        lines = aws.log_lines("transform", name)
        (stream,) = (stream for stream in lines if stream.endswith("/data-log"))
        told.append(lines[stream][0].partition("[sagemaker logs]: ")[2])
    assert told == [
        "MaxConcurrentTransforms=1, MaxPayloadInMB=6, BatchStrategy=MULTI_RECORD",
        "MaxConcurrentTransforms=3, MaxPayloadInMB=2, BatchStrategy=SINGLE_RECORD",
        "MaxConcurrentTransforms=3, MaxPayloadInMB=5, BatchStrategy=MULTI_RECORD",
        "MaxConcurrentTransforms=3, MaxPayloadInMB=2, BatchStrategy=SINGLE_RECORD",
    ]


def test_a_container_that_is_late_with_its_parameters_is_asked_again(aws: Aws) -> None:
    """Here it answers no one before it has been asked twice."""
    aws.put_all({"in/a": "1\n"})
    ended = aws.transform(
        [{"Image": "late:1", "Environment": {"ASKS": "2"}}],
        images_file=server_image(aws, "late:1", "late_server.py"),
        settings={"ping_attempt_seconds": 0.5},
    )
    assert ended.outcome == ("Completed", None)
    (data_log,) = (lines for name, lines in aws.log_lines("transform").items() if name.endswith("/data-log"))
    assert "MaxConcurrentTransforms=3," in data_log[0]


def test_a_job_can_be_stopped_while_its_container_does_not_say_its_parameters(aws: Aws) -> None:
    aws.put_all({"in/a": "1\n"})
    spec = aws.spec(
        "transform",
        aws.transform_request(),
        containers=[{"Image": "late:1", "Environment": {"ASKS": "1000"}}],
        images_file=server_image(aws, "late:1", "late_server.py"),
        settings={"ping_attempt_seconds": 0.5},
    )
    process = aws.start(spec)
    wait_until(lambda: ["asked"] * 2 in [lines[:2] for lines in aws.log_lines("transform").values()])
    process.terminate()
    assert aws.finish(process).outcome == ("Stopped", None)


def test_the_environment_is_the_models_then_the_jobs_then_awss(aws: Aws) -> None:
    """SAGEMAKER_BATCH always, the three others only when the caller set them."""
    show = """
import json, os
def model_fn(folder):
    return None
def transform_fn(model, body, content_type, accept):
    return json.dumps(dict(os.environ)), accept
"""
    aws.put_all({"in/a": "1\n"})
    container = aws.script(show, environment={"A": "model", "B": "model"})
    aws.transform([container], Environment={"B": "job"})
    bare = json.loads(aws.get("out/a.out"))
    assert (bare["A"], bare["B"], bare["SAGEMAKER_BATCH"]) == ("model", "job", "true")
    assert not {
        "SAGEMAKER_MAX_PAYLOAD_IN_MB",
        "SAGEMAKER_BATCH_STRATEGY",
        "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS",
    } & set(bare)
    aws.transform(
        [container],
        transform_input=CSV_LINES,
        MaxPayloadInMB=2,
        BatchStrategy="MultiRecord",
        MaxConcurrentTransforms=3,
    )
    full = json.loads(aws.get("out/a.out"))
    assert full["SAGEMAKER_MAX_PAYLOAD_IN_MB"] == "2"
    assert full["SAGEMAKER_BATCH_STRATEGY"] == "MULTI_RECORD"
    assert full["SAGEMAKER_MAX_CONCURRENT_TRANSFORMS"] == "3"


def test_without_content_type_and_accept_no_such_header_is_sent(aws: Aws) -> None:
    """The scikit-learn image then takes its own default, application/json."""
    aws.put_all({"in/a": "1\n"})
    aws.transform([aws.script(TELL)])
    assert requests_seen(aws, "out/a.out")[0]["type"] == "application/json"
    assert requests_seen(aws, "out/a.out")[0]["accept"] == "application/json"


def test_an_empty_object_gives_an_empty_output_without_a_request(aws: Aws) -> None:
    aws.put_all({"in/a": ""})
    ended = aws.transform([aws.script(TELL)], transform_input=CSV_LINES)
    assert aws.tree("out/") == {"a.out": b""}
    assert ended.instances[0]["requests"] == 0


def test_progress_counts_objects_up_to_the_last(aws: Aws) -> None:
    aws.put_all({f"in/{number}": "1\n" for number in range(5)})
    ended = aws.transform(
        [aws.script(ECHO)], transform_input=CSV_LINES, transform_output=CSV_OUT, instances=2
    )
    progress = [event for event in ended.events if event["event"] == "progress"]
    assert [event["event"] for event in (ended.events[0], ended.events[-1])] == ["started", "finished"]
    assert sorted(event["objects_done"] for event in progress) == [1, 2, 3, 4, 5]
    assert {event["objects_total"] for event in progress} == {5}


def test_busy_time_is_the_time_with_a_request_in_flight(aws: Aws) -> None:
    """Eight requests of 0.5 s are 1 s of work four at a time, and not 4 s, on an instance that was up longer.

    Each of them waits until there are four, and then for its time.
    """
    slow = "import threading, time\nfour = threading.Barrier(4)\n" + ECHO.replace(
        "return body", "four.wait(120); time.sleep(0.5); return body"
    )
    aws.put_all({"in/a": "1\n2\n3\n4\n" * 2})
    ended = aws.transform(
        [aws.script(slow)],
        transform_input=CSV_LINES,
        transform_output=CSV_OUT,
        BatchStrategy="SingleRecord",
        MaxConcurrentTransforms=4,
    )
    (only,) = ended.instances
    assert ended.outcome == ("Completed", None)
    assert only["busy_seconds"] >= 1
    assert only["busy_seconds"] < only["ended"] - only["started"]
    assert (only["requests"], only["records"], only["bytes_in"], only["bytes_out"]) == (8, 8, 16, 16)


def test_streams_are_named_after_job_and_instance_with_a_data_log_beside(aws: Aws) -> None:
    aws.put_all({"in/a": "1\n"})
    aws.transform([aws.script(ECHO)], transform_input=CSV_LINES, transform_output=CSV_OUT)
    streams = aws.log_lines("transform")
    container, data_log = sorted(streams)
    assert data_log == f"{container}/data-log"
    assert container.startswith(f"{aws.job}/i-")
    access = [line for line in streams[container] if "POST /invocations" in line]
    assert len(access) == 1
    assert '"POST /invocations HTTP/1.1" 200 2 "-" "Go-http-client/1.1"' in access[0]


def test_the_boot_delay_is_part_of_the_instances_time(aws: Aws) -> None:
    aws.put_all({"in/a": "1\n"})
    ended = aws.transform(
        [aws.script(ECHO)],
        transform_input=CSV_LINES,
        transform_output=CSV_OUT,
        settings={"boot_delay_seconds": 1.0},
    )
    assert ended.instances[0]["ended"] - ended.instances[0]["started"] > 1.0


@pytest.mark.parametrize(
    ("key", "is_plain"),
    [("in/a.csv", True), ("in/a b.csv", True), ("in/ä.csv", False), ("in/a\tb.csv", False)],
)
def test_a_request_names_its_object_and_asks_for_gzip(aws: Aws, key: str, is_plain: bool) -> None:
    """As in the log of a container on AWS; what a header cannot hold is in its Base64 twin alone."""
    aws.put_all({key: "1\n2\n"})
    ended = aws.transform(
        [{"Image": "headers:1"}], transform_input=CSV_LINES, transform_output=CSV_OUT, **header_image(aws)
    )
    assert ended.outcome == ("Completed", None)
    seen = requests_seen(aws, f"out/{key.removeprefix('in/')}.out")
    # One record a request, which the server's compressed /execution-parameters asked for.
    assert [request["body"].strip() for request in seen] == ["1", "2"]
    name = f"{aws.bucket}/{key}"
    for request in seen:
        assert request["Accept-Encoding"] == "gzip"
        assert request["User-Agent"] == "Go-http-client/1.1"
        assert request.get("X-Amzn-Sagemaker-Input-Object") == (name if is_plain else None)
        assert base64.b64decode(request["X-Amzn-Sagemaker-Input-Object-Base64"]).decode() == name


def test_every_container_of_a_pipeline_is_told_the_object(aws: Aws) -> None:
    """What the first one answers is decompressed before the second one gets it."""
    aws.put_all({"in/a": "1\n"})
    ended = aws.transform(
        [{"Image": "headers:1"}, {"Image": "headers:1"}],
        transform_input=CSV_LINES,
        transform_output=CSV_OUT,
        **header_image(aws),
    )
    assert ended.outcome == ("Completed", None)
    (last,) = requests_seen(aws, "out/a.out")
    for request in (last, json.loads(last["body"])):
        assert request["X-Amzn-Sagemaker-Input-Object"] == f"{aws.bucket}/in/a"


def test_an_answer_whose_gzip_is_cut_loses_the_object(aws: Aws) -> None:
    aws.put_all({"in/a": "short\n", "in/b": "1\n"})
    ended = aws.transform(
        [{"Image": "headers:1"}],
        transform_input=CSV_LINES,
        transform_output=CSV_OUT,
        ModelClientConfig={"InvocationsMaxRetries": 0},
        **header_image(aws),
    )
    assert ended.outcome == ("Failed", "AlgorithmError: See job logs for more information")
    assert aws.keys("out/") == ["out/b.out"]
