"""How transform jobs fail: what is lost, what is kept, and the words."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import time
from typing import Any

import psutil
import pytest

from tests.integration.local_aws.runner.harness import Aws, reach_time_limit_when, wait_until
from tools.benchmarks.embedded_aws import ECHO

CSV_LINES = {"ContentType": "text/csv", "SplitType": "Line"}
CSV_OUT = {"Accept": "text/csv", "AssembleWith": "Line"}
CLIENT = ("Failed", "ClientError: See job logs for more information")
ALGORITHM = ("Failed", "AlgorithmError: See job logs for more information")

# "refuse" in a record is answered with 415, "break" with 500, "sleep" late, "die" not at all; "once" breaks once.
MOODY = """
import os, time
from pathlib import Path

class UnsupportedFormatError(Exception):
    pass

def model_fn(folder):
    return None

def input_fn(body, content_type):
    if "refuse" in body:
        raise UnsupportedFormatError(content_type)
    if "break" in body:
        raise ValueError("broken\\nrecord")
    if "once" in body and not Path("/tmp/once").exists():
        Path("/tmp/once").touch()
        raise ValueError("only once")
    if "sleep" in body:
        time.sleep(600)
    if "die" in body:
        os._exit(1)
    return body

def predict_fn(data, model):
    return data

def output_fn(data, accept):
    return data, accept
"""


def only_the_first_answers(aws: Aws) -> dict[str, Any]:
    """A model that answers the first of four objects; longer than any test waits for the second."""
    aws.put_all({f"in/{number}": f"{number + 1}\n" for number in range(4)})
    return aws.script(
        ECHO.replace("return body", 'import time; time.sleep(600 * (body != "1\\n")); return body')
    )


def has_stopped_child(pid: int) -> bool:
    """Whether SIGSTOP has reached a process below this one."""
    for child in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.status() == psutil.STATUS_STOPPED:
                return True
    return False


@pytest.mark.parametrize(
    ("record", "outcome", "first_line"),
    [
        ("refuse", CLIENT, "ClientError: 415"),
        ("break", ALGORITHM, "Bad HTTP status received from algorithm: 500"),
    ],
)
def test_a_bad_record_loses_its_object_and_only_that(
    aws: Aws, record: str, outcome: tuple[str, str], first_line: str
) -> None:
    aws.put_all({"in/a": "1\n2\n", "in/b": f"1\n{record}\n3\n", "in/c": "4\n"})
    ended = aws.transform(
        [aws.script(MOODY)], transform_input=CSV_LINES, transform_output=CSV_OUT, BatchStrategy="SingleRecord"
    )
    assert ended.outcome == outcome
    assert aws.tree("out/") == {"a.out": b"1\n2\n", "c.out": b"4\n"}
    where = f"{aws.bucket}/in/b"
    assert aws.data_log()[:3] == [f"{where}: {first_line}", f"{where}: ", f"{where}: Message:"]
    assert all(line.startswith(f"{where}: ") for line in aws.data_log())
    if record == "break":
        assert aws.data_log()[3:] == [f"{where}: ValueError: broken", f"{where}: record"]


def test_no_part_of_a_lost_object_stays_behind(aws: Aws) -> None:
    """The object is larger than one part of an upload, its last record is bad."""
    aws.put_all({"in/a": ("x" * 999_999 + "\n") * 10 + "break\n"})
    ended = aws.transform(
        [aws.script(MOODY)], transform_input=CSV_LINES, transform_output=CSV_OUT, MaxPayloadInMB=1
    )
    assert ended.outcome == ALGORITHM
    assert aws.keys("out/") == []
    assert aws.s3.list_multipart_uploads(Bucket=aws.bucket).get("Uploads", []) == []


def test_server_errors_are_tried_again_and_client_errors_are_not(aws: Aws) -> None:
    aws.put_all({"in/a": "once\n"})
    ended = aws.transform([aws.script(MOODY)], transform_input=CSV_LINES, transform_output=CSV_OUT)
    assert ended.outcome == ("Completed", None)
    assert ended.instances[0]["requests"] == 2
    aws.put_all({"in/a": "refuse\n"})
    ended = aws.transform([aws.script(MOODY)], transform_input=CSV_LINES, transform_output=CSV_OUT)
    assert ended.instances[0]["requests"] == 1


@pytest.mark.parametrize("retries", [0, 2])
def test_a_late_answer_is_waited_for_and_asked_for_again_as_the_client_config_says(
    aws: Aws, retries: int
) -> None:
    aws.put_all({"in/a": "sleep\n", "in/b": "1\n"})
    ended = aws.transform(
        [aws.script(MOODY)],
        transform_input=CSV_LINES,
        transform_output=CSV_OUT,
        ModelClientConfig={"InvocationsTimeoutInSeconds": 5, "InvocationsMaxRetries": retries},
    )
    assert ended.outcome == ALGORITHM
    assert aws.tree("out/") == {"b.out": b"1\n"}
    assert ended.instances[0]["requests"] == retries + 2
    assert aws.data_log() == [
        f"{aws.bucket}/in/a: Model server did not respond to /invocations request within 5 seconds"
    ]


def test_a_record_larger_than_the_payload_loses_its_object(aws: Aws) -> None:
    aws.put_all({"in/a": "1234\n123456789012\n", "in/b": "1234\n"})
    ended = aws.transform(
        [aws.script(MOODY)],
        transform_input=CSV_LINES,
        transform_output=CSV_OUT,
        MaxPayloadInMB=1,
        settings={"mb_bytes": 10},
    )
    assert ended.outcome == CLIENT
    assert aws.tree("out/") == {"b.out": b"1234\n"}


def test_an_object_larger_than_the_payload_is_lost_when_it_may_not_be_split(aws: Aws) -> None:
    aws.put_all({"in/a": "1" * 11, "in/b": "1" * 10})
    ended = aws.transform(
        [aws.script(MOODY)],
        transform_input={"ContentType": "text/csv"},
        transform_output={"Accept": "text/csv"},
        MaxPayloadInMB=1,
        settings={"mb_bytes": 10},
    )
    assert ended.outcome == CLIENT
    assert aws.tree("out/") == {"b.out": b"1" * 10}


@pytest.mark.parametrize("body", [b"no gzip at all", gzip.compress(b"1\n2\n" * 1000, mtime=0)[:-20]])
def test_an_object_that_is_not_what_compression_type_says_is_lost(aws: Aws, body: bytes) -> None:
    aws.put_all({"in/a": body, "in/b": gzip.compress(b"1\n", mtime=0)})
    ended = aws.transform(
        [aws.script(MOODY)],
        transform_input={**CSV_LINES, "CompressionType": "Gzip"},
        transform_output=CSV_OUT,
        MaxPayloadInMB=1,
    )
    assert ended.outcome == CLIENT
    assert aws.tree("out/") == {"b.out": b"1\n"}


def test_a_gzip_that_ends_early_is_lost_when_it_is_sent_as_it_is_read(aws: Aws) -> None:
    """Payload 0 and no splitting: the container has got half a request by then, the next one must not suffer."""
    aws.put_all({"in/a": gzip.compress(b"1\n2\n" * 1000, mtime=0)[:-20], "in/b": gzip.compress(b"1\n")})
    ended = aws.transform(
        [aws.script(MOODY)],
        transform_input={"ContentType": "text/csv", "CompressionType": "Gzip"},
        transform_output={"Accept": "text/csv"},
        MaxPayloadInMB=0,
    )
    assert ended.outcome == CLIENT
    assert aws.tree("out/") == {"b.out": b"1\n"}


def test_a_container_that_ends_ends_the_job(aws: Aws) -> None:
    """At once: the request that broke is not tried again, and no further one is sent."""
    aws.put_all({"in/a": "1\n", "in/b": "die\n", "in/c": "1\n"})
    ended = aws.transform(
        [aws.script(MOODY)],
        transform_input=CSV_LINES,
        transform_output=CSV_OUT,
        settings={"retry_backoff_seconds": 600},
    )
    assert ended.outcome == ALGORITHM
    assert aws.tree("out/") == {"a.out": b"1\n"}
    assert ended.instances[0]["requests"] == 2


NO_PING_REASON = (
    "AlgorithmError: Model container failed to respond to ping. Please ensure /ping endpoint is implemented and "
    "responds with an HTTP 200 status code"
)
NO_PING = ("Failed", NO_PING_REASON)


def test_a_container_that_ends_before_it_answers_ping_fails_the_job(aws: Aws) -> None:
    aws.put_all({"in/a": "1\n"})
    ended = aws.transform([aws.script("def model_fn(folder):\n    raise RuntimeError('no model here')\n")])
    assert ended.outcome == NO_PING
    lines = [line for found in aws.log_lines("transform").values() for line in found]
    assert "RuntimeError: no model here" in lines


def test_a_container_that_never_answers_ping_is_given_the_time_the_setting_says(aws: Aws) -> None:
    aws.put_all({"in/a": "1\n"})
    slow = "import time\ndef model_fn(folder):\n    time.sleep(600)\n"
    ended = aws.transform([aws.script(slow)], settings={"ping_timeout_seconds": 1})
    assert ended.outcome == NO_PING
    assert ended.instances[0]["ended"] - ended.instances[0]["started"] >= 1


def test_a_model_archive_that_cannot_be_read_fails_the_job(aws: Aws) -> None:
    aws.put_all({"in/a": "1\n", "models/text.tar.gz": "this is no archive"})
    container = {**aws.script(ECHO), "ModelDataUrl": aws.uri("models/text.tar.gz")}
    no_archive = (
        f'ClientError: Failed to extract model data archive for container "container_1" from URL '
        f'"{aws.uri("models/text.tar.gz")}". Please ensure that the object located at the URL is a valid tar.gz '
        "archive."
    )
    assert aws.transform([container]).outcome == ("Failed", no_archive)
    container["ModelDataUrl"] = aws.uri("models/nowhere.tar.gz")
    status, reason = aws.transform([container]).outcome
    assert status == "Failed"
    assert str(reason).startswith('ClientError: Failed to download model data for container "container_1"')


def test_an_archive_member_that_leaves_its_folder_is_refused(aws: Aws) -> None:
    aws.put_all({"in/a": "1\n"})
    container = {**aws.script(ECHO), "ModelDataUrl": aws.model("models/m.tar.gz", {"../../escaped": "x"})}
    status, reason = aws.transform([container]).outcome
    assert status == "Failed"
    assert "Failed to extract model data archive" in str(reason)


def test_an_archive_that_unpacks_to_more_than_the_setting_allows_fails_the_job(aws: Aws) -> None:
    """Before it fills the disk; the message names the setting."""
    aws.put_all({"in/a": "1\n"})
    model = aws.model("models/m.tar.gz", {"code/inference.py": ECHO, "weights": bytes(2 * 1024 * 1024)})
    container = {**aws.script(ECHO), "ModelDataUrl": model}
    assert aws.transform([container], settings={"unpacked_archive_mb": 3}).outcome == ("Completed", None)
    assert aws.transform([container], settings={"unpacked_archive_mb": 1}).outcome == (
        "Failed",
        (
            f'ClientError: Failed to extract model data archive for container "container_1" from URL "{model}". It '
            "unpacks to more than 1,048,576 bytes, which is what the setting runner.unpacked_archive_mb of the "
            "embedded AWS allows; raise it if the archive is right."
        ),
    )


def test_an_archive_of_code_is_held_to_the_same_limit(aws: Aws) -> None:
    """The image fetches it; the job's log says why the container does not start."""
    aws.put_all({"in/a": "1\n"})
    code = {"inference.py": ECHO, "data": bytes(2 * 1024 * 1024)}
    container = aws.script(
        ECHO, environment={"SAGEMAKER_SUBMIT_DIRECTORY": aws.model("code/sourcedir.tar.gz", code)}
    )
    assert aws.transform([container], settings={"unpacked_archive_mb": 3}).outcome == ("Completed", None)
    status, _ = aws.transform(
        [container], settings={"unpacked_archive_mb": 1, "ping_timeout_seconds": 60}
    ).outcome
    assert status == "Failed"
    lines = [line for stream in aws.log_lines("transform").values() for line in stream]
    assert any("the setting runner.unpacked_archive_mb" in line for line in lines)


def test_an_unknown_image_fails_the_job_and_says_where_to_register_it(aws: Aws) -> None:
    aws.put_all({"in/a": "1\n"})
    mine = aws.images_file({"pattern": "mine:*", "serve": ["/bin/true"]})
    status, reason = aws.transform([{"Image": "123.dkr.ecr/unknown:1"}], images_file=mine).outcome
    assert status == "Failed"
    assert str(reason).startswith(
        "ClientError: API error (404): manifest for 123.dkr.ecr/unknown:1 not found: manifest unknown: "
        "Requested image not found"
    )
    assert mine in str(reason)


def test_a_missing_output_bucket_loses_the_objects(aws: Aws) -> None:
    aws.put_all({"in/a": "1\n"})
    request = aws.transform_request(transform_input=CSV_LINES, transform_output=CSV_OUT)
    request["TransformOutput"]["S3OutputPath"] = "s3://no-such-bucket-anywhere/out"
    assert aws.run("transform", request, containers=[aws.script(ECHO)]).outcome == CLIENT
    assert "NoSuchBucket" in aws.data_log()[0]


@pytest.mark.local_only
def test_a_container_killed_on_demand_ends_the_job_and_finished_objects_stay(aws: Aws) -> None:
    fault = {"kind": "kill_container", "host": "algo-1", "after_objects": 1}
    ended = aws.transform(
        [only_the_first_answers(aws)], transform_input=CSV_LINES, transform_output=CSV_OUT, faults=[fault]
    )
    assert ended.outcome == ALGORITHM
    assert aws.tree("out/") == {"0.out": b"1\n"}


@pytest.mark.local_only
def test_an_instance_lost_on_demand_is_an_internal_error(aws: Aws) -> None:
    aws.put_all({f"in/{number}": "1\n" for number in range(4)})
    slow = ECHO.replace("return body", "import time; time.sleep(600); return body")
    fault = {"kind": "lose_instance", "host": "algo-2", "after_seconds": 0.5}
    ended = aws.transform(
        [aws.script(slow)], transform_input=CSV_LINES, transform_output=CSV_OUT, instances=2, faults=[fault]
    )
    assert ended.outcome == (
        "Failed",
        "InternalServerError: We encountered an internal error.  Please try again.",
    )
    assert [item["host"] for item in ended.instances] == ["algo-1", "algo-2"]


@pytest.mark.local_only
def test_an_instance_may_be_lost_before_its_containers_answer(aws: Aws) -> None:
    aws.put_all({"in/a": "1\n"})
    slow = "import time\ndef model_fn(folder):\n    time.sleep(600)\n"
    fault = {"kind": "lose_instance", "host": "algo-1", "after_seconds": 0.2}
    ended = aws.transform([aws.script(slow)], faults=[fault])
    assert ended.outcome == (
        "Failed",
        "InternalServerError: We encountered an internal error.  Please try again.",
    )


@pytest.mark.local_only
def test_a_processing_container_can_be_killed_or_its_instance_lost(aws: Aws) -> None:
    sleeper = ["python3", "-c", "import time; time.sleep(600)"]
    for kind, reason in (
        ("kill_container", "AlgorithmError: See job logs for more information"),
        ("lose_instance", "InternalServerError: We encountered an internal error.  Please try again."),
    ):
        fault = {"kind": kind, "host": "algo-2", "after_seconds": 0.3}
        ended = aws.processing(sleeper, instances=2, faults=[fault])
        assert ended.outcome == ("Failed", reason)


@pytest.mark.local_only
def test_a_container_that_hangs_on_demand_is_deaf_to_sigterm_and_killed_after_the_grace(
    aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a processing job by its time limit; of a transform by a stop, with what was finished kept."""
    hears = """
import signal, time
def on_term(number, frame):
    open("/opt/ml/processing/output/heard", "w").close()
signal.signal(signal.SIGTERM, on_term)
time.sleep(600)
"""
    fault = {"kind": "freeze_container", "host": "algo-1", "after_seconds": 0.5}
    reach_time_limit_when(monkeypatch, lambda: has_stopped_child(os.getpid()))
    ended = aws.processing(
        ["python3", "-c", hears],
        outputs=[aws.build_processing_output("output", "heard")],
        faults=[fault],
        settings={"processing_stop_grace_seconds": 0.5},
    )
    assert ended.outcome == ("Stopped", None)
    assert ended.instances[0]["busy_seconds"] >= 0.5 + 0.5
    assert aws.tree("heard/") == {}

    request = aws.transform_request(transform_input=CSV_LINES, transform_output=CSV_OUT)
    fault = {"kind": "freeze_container", "host": "algo-1", "after_objects": 1}
    process = aws.start(
        aws.spec(
            "transform", request, containers=[only_the_first_answers(aws)], faults=[fault],
            settings={"transform_stop_grace_seconds": 0.5},
        )
    )  # fmt: skip
    wait_until(lambda: process.poll() is not None or has_stopped_child(process.pid))
    assert process.poll() is None
    told_at = time.monotonic()
    process.terminate()
    assert aws.finish(process).outcome == ("Stopped", None)
    assert time.monotonic() - told_at >= 0.5
    assert aws.tree("out/") == {"0.out": b"1\n"}


def test_the_reason_is_never_longer_than_awss_limit(aws: Aws) -> None:
    aws.put_all({"in/a": "1\n"})
    patterns = [{"pattern": f"image-{number}-{'x' * 100}:*"} for number in range(30)]
    _status, reason = aws.transform([{"Image": "unknown"}], images_file=aws.images_file(*patterns)).outcome
    assert len(str(reason)) == 1024
    assert json.dumps(reason)
