"""Processing inputs through named pipes, outputs uploaded while the container runs."""

from __future__ import annotations

import gzip
import json
import signal
from typing import Any

from tests.integration.local_aws.runner.harness import Aws, wait_until

READ_PIPE = """
import json
passes = []
for epoch in range({passes}):
    with open(f"/opt/ml/processing/input/data_{{epoch}}", "rb") as pipe:
        passes.append(pipe.read().decode())
open("/opt/ml/processing/output/passes.json", "w").write(json.dumps(passes))
"""


def read_pipe(aws: Aws, passes: int, **s3: Any) -> list[str]:
    ended = aws.processing(
        ["python3", "-c", READ_PIPE.format(passes=passes)],
        inputs=[aws.build_processing_input("data", "in/", S3InputMode="Pipe", **s3)],
        outputs=[aws.build_processing_output("output", "out")],
    )
    assert ended.outcome == ("Completed", None)
    return list(json.loads(aws.get("out/passes.json")))


def test_a_pipe_gives_all_objects_one_after_the_other_and_again_for_the_next_pass(aws: Aws) -> None:
    large = "x" * 300_000 + "\n"
    aws.put_all({"in/a": "a\n", "in/b": large, "in/c": "c\n"})
    assert read_pipe(aws, 2) == [f"a\n{large}c\n"] * 2


def test_a_pipe_unpacks_gzip_when_asked(aws: Aws) -> None:
    aws.put_all({"in/a.gz": gzip.compress(b"a\n"), "in/b.gz": gzip.compress(b"b\n")})
    assert read_pipe(aws, 1, S3CompressionType="Gzip") == ["a\nb\n"]


def test_a_container_need_not_read_its_pipe_to_the_end(aws: Aws) -> None:
    aws.put_all({"in/a": "x" * 5_000_000})
    source = "open('/opt/ml/processing/input/data_0', 'rb').read(10)"
    ended = aws.processing(
        ["python3", "-c", source], inputs=[aws.build_processing_input("data", "in/", S3InputMode="Pipe")]
    )
    assert ended.outcome == ("Completed", None)
    ended = aws.processing(
        ["python3", "-c", "pass"], inputs=[aws.build_processing_input("data", "in/", S3InputMode="Pipe")]
    )
    assert ended.outcome == ("Completed", None)


def test_a_pipe_of_something_that_is_no_gzip_fails_the_job(aws: Aws) -> None:
    aws.put_all({"in/a": "plain text"})
    source = "import time; open('/opt/ml/processing/input/data_0', 'rb').read(); time.sleep(600)"
    pipe = aws.build_processing_input("data", "in/", S3InputMode="Pipe", S3CompressionType="Gzip")
    status, reason = aws.processing(["python3", "-c", source], inputs=[pipe]).outcome
    assert status == "Failed"
    assert str(reason).startswith("ClientError: Failed to download data. Input data: ")


def test_continuous_outputs_appear_and_change_while_the_container_runs(aws: Aws) -> None:
    """The container changes its file when it is told to, which is after the first upload."""
    source = """
import os, time
from pathlib import Path
def write(text):
    Path("/opt/ml/next").write_text(text)
    os.replace("/opt/ml/next", "/opt/ml/processing/output/first")
write("one")
while not Path("/opt/ml/go").exists():
    time.sleep(0.05)
write("changed")
time.sleep(600)
"""
    spec = aws.spec(
        "processing",
        aws.processing_request(
            ["python3", "-c", source], outputs=[aws.build_processing_output("output", "out", "Continuous")]
        ),
        settings={"continuous_upload_seconds": 0.2},
    )
    process = aws.start(spec)
    wait_until(lambda: aws.tree("out/") == {"first": b"one"})
    (spec.parent / "algo-1/ml/go").touch()
    wait_until(lambda: aws.tree("out/") == {"first": b"changed"})
    process.send_signal(signal.SIGTERM)
    assert aws.finish(process).outcome == ("Stopped", None)


def test_inputs_and_outputs_that_the_app_manages_are_left_alone(aws: Aws) -> None:
    aws.put_all({"in/a": "a"})
    mine = {**aws.build_processing_input("mine", "nowhere/"), "AppManaged": True}
    ended = aws.processing(
        ["python3", "-c", "import os; print(sorted(os.listdir('/opt/ml/processing/input')))"],
        inputs=[mine, aws.build_processing_input("data", "in/")],
        outputs=[
            {"OutputName": "features", "AppManaged": True, "FeatureStoreOutput": {"FeatureGroupName": "g"}}
        ],
    )
    assert ended.outcome == ("Completed", None)
    assert list(aws.log_lines("processing").values()) == [["['data']"]]


def test_an_input_without_local_path_is_refused_in_awss_words(aws: Aws) -> None:
    aws.put_all({"in/a": "a"})
    broken = aws.build_processing_input("data", "in/")
    del broken["S3Input"]["LocalPath"]
    assert aws.processing(["python3", "-c", "pass"], inputs=[broken]).outcome == (
        "Failed",
        'ClientError: Input data missing one or more required fields for SageMaker-managed S3Input: "LocalPath"',
    )


def test_two_outputs_to_the_same_uri_share_it(aws: Aws) -> None:
    source = """
for name in ("one", "two"):
    open(f"/opt/ml/processing/{name}/{name}", "w").write(name)
    open(f"/opt/ml/processing/{name}/same", "w").write(name)
"""
    aws.processing(
        ["python3", "-c", source],
        outputs=[aws.build_processing_output("one", "out"), aws.build_processing_output("two", "out")],
    )
    assert aws.tree("out/") == {"one": b"one", "two": b"two", "same": b"two"}
