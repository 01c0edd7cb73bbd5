"""Processing jobs: what the container finds, what it leaves, and how the job ends."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.local_aws.runner.harness import (
    SCRIPT_IMAGE,
    Aws,
    RunnerResult,
    reach_time_limit_when,
    wait_until,
)


def python(source: str) -> list[str]:
    return ["python3", "-c", source]


LIST_INPUT = """
import json, os
from pathlib import Path
me = json.loads(Path("/opt/ml/config/resourceconfig.json").read_text())
top = Path("/opt/ml/processing/input/data")
found = {p.relative_to(top).as_posix(): p.read_text() for p in sorted(top.rglob("*")) if p.is_file()}
Path("/opt/ml/processing/output", me["current_host"] + ".json").write_text(json.dumps({"me": me, "found": found}))
"""


def hosts_saw(aws: Aws, prefix: str = "out/") -> dict[str, dict[str, str]]:
    return {name.removesuffix(".json"): json.loads(body)["found"] for name, body in aws.tree(prefix).items()}


def list_input(aws: Aws, instances: int, **s3: Any) -> RunnerResult:
    return aws.processing(
        python(LIST_INPUT),
        inputs=[aws.build_processing_input("data", s3.pop("key", "in/"), **s3)],
        outputs=[aws.build_processing_output("output", "out")],
        instances=instances,
    )


def test_an_input_is_copied_to_every_host_below_its_local_path(aws: Aws) -> None:
    """FullyReplicated is the default; folders below the prefix are kept."""
    aws.put_all({"in/a.txt": "a", "in/deep/b.txt": "b"})
    ended = list_input(aws, 2)
    assert ended.outcome == ("Completed", None)
    assert hosts_saw(aws) == {host: {"a.txt": "a", "deep/b.txt": "b"} for host in ("algo-1", "algo-2")}


def test_sharding_by_key_gives_every_object_to_exactly_one_host(aws: Aws) -> None:
    aws.put_all({f"in/{number:02}": str(number) for number in range(7)})
    list_input(aws, 3, S3DataDistributionType="ShardedByS3Key")
    seen = hosts_saw(aws)
    assert sorted(len(files) for files in seen.values()) == [2, 2, 3]
    assert {name: body for files in seen.values() for name, body in files.items()} == {
        f"{number:02}": str(number) for number in range(7)
    }


def test_a_prefix_is_the_beginning_of_keys_and_not_a_folder(aws: Aws) -> None:
    aws.put_all({"in/part": "1", "in/part_two/x": "2", "in/other": "3"})
    list_input(aws, 1, key="in/part")
    assert hosts_saw(aws)["algo-1"] == {"part": "1", "part_two/x": "2"}


def test_a_manifest_names_the_objects(aws: Aws) -> None:
    aws.put_all({"in/a": "a", "in/b": "b", "in/sub/c": "c"})
    aws.put(manifest=json.dumps([{"prefix": aws.uri("in/")}, "a", "sub/c"]))
    list_input(aws, 1, key="manifest", S3DataType="ManifestFile")
    assert hosts_saw(aws)["algo-1"] == {"a": "a", "sub/c": "c"}


def test_the_config_files_say_what_runs_and_who_takes_part(aws: Aws) -> None:
    source = """
import shutil
shutil.copytree("/opt/ml/config", "/opt/ml/processing/output", dirs_exist_ok=True)
"""
    aws.put_all({"in/a": "a"})
    aws.processing(
        python(source),
        inputs=[aws.build_processing_input("data", "in/")],
        outputs=[aws.build_processing_output("output", "out")],
        Environment={"K": "v"},
    )
    found = {name: json.loads(body) for name, body in aws.tree("out/").items()}
    assert found["resourceconfig.json"]["current_host"] == "algo-1"
    assert found["resourceconfig.json"]["hosts"] == ["algo-1"]
    config = found["processingjobconfig.json"]
    assert config["ProcessingJobArn"] == f"arn:aws:sagemaker:us-east-1:123456789012:processing-job/{aws.job}"
    assert config["StoppingCondition"] == {"MaxRuntimeInSeconds": 86400}
    assert config["Environment"] == {"K": "v"}
    assert config["AppSpecification"]["ContainerArguments"] is None
    assert config["ProcessingInputs"][0]["S3Input"]["S3DownloadMode"] == "StartOfJob"
    assert config["ProcessingInputs"][0]["S3Input"]["S3DataDistributionType"] == "FullyReplicated"
    assert config["NetworkConfig"] is None


def test_each_host_has_its_own_opt_ml_and_tmp(aws: Aws) -> None:
    source = """
import os, time
from pathlib import Path
Path("/tmp/mine").touch(exist_ok=False)
Path("/opt/ml/mine").touch(exist_ok=False)
time.sleep(0.5)
print("mine" in os.listdir("/tmp"))
"""
    ended = aws.processing(python(source), instances=2)
    assert ended.outcome == ("Completed", None)
    assert list(aws.log_lines("processing").values()) == [["True"]] * 2
    assert not Path("/tmp/mine").exists()


IMAGE = {"pattern": "*/echo:1", "entrypoint": ["/bin/echo", "image"], "cmd": ["default"]}


@pytest.mark.parametrize(
    ("entrypoint", "arguments", "printed"),
    [
        (None, None, "image default"),
        (None, ["given"], "image given"),
        (["/bin/echo", "caller"], None, "caller"),
        (["/bin/echo", "caller"], ["given"], "caller given"),
    ],
)
def test_entrypoint_and_arguments_replace_the_images_as_container_engines_do(
    aws: Aws, entrypoint: list[str] | None, arguments: list[str] | None, printed: str
) -> None:
    ended = aws.processing(
        entrypoint, arguments=arguments, image="repo/echo:1", images_file=aws.images_file(IMAGE)
    )
    assert ended.outcome == ("Completed", None)
    assert list(aws.log_lines("processing").values()) == [[printed]]


def test_any_exit_code_but_zero_fails_the_job_and_stops_the_other_hosts(aws: Aws) -> None:
    source = """
import json, sys, time
host = json.load(open("/opt/ml/config/resourceconfig.json"))["current_host"]
if host == "algo-2":
    sys.exit(3)
time.sleep(600)
"""
    ended = aws.processing(python(source), instances=2)
    assert ended.outcome == ("Failed", "AlgorithmError: See job logs for more information")


def test_a_setting_lets_the_other_hosts_of_a_failed_one_go_on(aws: Aws) -> None:
    source = """
import json, sys, time
host = json.load(open("/opt/ml/config/resourceconfig.json"))["current_host"]
if host == "algo-2":
    sys.exit(3)
time.sleep(1)
open("/opt/ml/output/message", "w").write("done")
"""
    ended = aws.processing(python(source), instances=2, settings={"stop_others_on_host_failure": False})
    assert ended.outcome == ("Failed", "AlgorithmError: See job logs for more information")
    assert ended.last["exit_message"] == "done"


def test_exit_messages_are_joined_in_host_order_and_cut_to_one_kilobyte(aws: Aws) -> None:
    source = """
import json
host = json.load(open("/opt/ml/config/resourceconfig.json"))["current_host"]
open("/opt/ml/output/message", "w").write((host + "é" * 600)[:600])
"""
    ended = aws.processing(python(source), instances=2)
    first = ("algo-1" + "é" * 600)[:600]
    assert ended.last["exit_message"] == (first + "algo-2").encode()[:1024].decode(errors="ignore")
    assert len(ended.last["exit_message"].encode()) <= 1024


def test_an_exit_message_that_is_not_utf8_is_a_client_error(aws: Aws) -> None:
    ended = aws.processing(python(r'open("/opt/ml/output/message", "wb").write(b"\xff\xfe")'))
    status, reason = ended.outcome
    assert status == "Failed"
    assert str(reason).startswith("ClientError: /opt/ml/output/message is not UTF-8")


def test_the_time_limit_ends_the_job_as_stopped_and_keeps_its_outputs(
    aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is reached once the container has written its first file."""
    source = """
import signal, sys, time
from pathlib import Path
def on_term(number, frame):
    Path("/opt/ml/processing/output/late").write_text(str(number))
    sys.exit(0)
signal.signal(signal.SIGTERM, on_term)
Path("/opt/ml/processing/output/early").write_text("x")
time.sleep(600)
"""

    def has_written() -> bool:
        files = aws.folder.glob("work-*/algo-1/ml/processing/output/early")
        return any(path.stat().st_size for path in files)

    limits = reach_time_limit_when(monkeypatch, has_written)
    ended = aws.processing(
        python(source),
        outputs=[aws.build_processing_output("output", "out")],
        StoppingCondition={"MaxRuntimeInSeconds": 1},
    )
    assert ended.outcome == ("Stopped", None)
    assert aws.tree("out/") == {"early": b"x", "late": b"15"}
    assert limits == [1]


def test_a_container_that_ignores_sigterm_is_killed_after_the_grace(aws: Aws) -> None:
    source = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ignoring", flush=True)
time.sleep(600)
"""
    process = aws.start(
        aws.spec(
            "processing",
            aws.processing_request(python(source)),
            settings={"processing_stop_grace_seconds": 0.5},
        )
    )
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["event"] == "started"
    wait_until(lambda: ["ignoring"] in aws.log_lines("processing").values())
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    ended = aws.finish(process)
    assert ended.outcome == ("Stopped", None)
    assert time.monotonic() - began >= 0.5


def test_output_files_keep_their_folders_and_links_stay_behind(aws: Aws) -> None:
    source = """
import os
from pathlib import Path
top = Path("/opt/ml/processing/output")
(top / "a/b").mkdir(parents=True)
(top / "a/b/file").write_text("deep")
(top / "empty").write_text("")
os.symlink(top / "empty", top / "link")
"""
    aws.processing(python(source), outputs=[aws.build_processing_output("output", "out/")])
    assert aws.tree("out/") == {"a/b/file": b"deep", "empty": b""}


@pytest.mark.parametrize("winner", ["last_host", "first_host"])
def test_hosts_that_write_the_same_name_collide_and_a_setting_says_who_wins(aws: Aws, winner: str) -> None:
    source = """
import json
host = json.load(open("/opt/ml/config/resourceconfig.json"))["current_host"]
open("/opt/ml/processing/output/same", "w").write(host)
"""
    aws.processing(
        python(source),
        outputs=[aws.build_processing_output("output", "out")],
        instances=2,
        settings={"collision_winner": winner},
    )
    assert aws.tree("out/") == {"same": b"algo-2" if winner == "last_host" else b"algo-1"}


def test_an_input_that_is_not_there_fails_the_job_in_awss_words(aws: Aws) -> None:
    ended = list_input(aws, 1, key="nothing/")
    status, reason = ended.outcome
    assert status == "Failed"
    assert str(reason).startswith("ClientError: Failed to download data. No S3 objects found under S3 URL")
    missing = aws.build_processing_input("data", "in/")
    missing["S3Input"]["S3Uri"] = "s3://no-such-bucket-anywhere/in/"
    status, reason = aws.processing(python("pass"), inputs=[missing]).outcome
    assert str(reason).startswith(
        "ClientError: Failed to download data. ListObjectsV2 failed for s3://no-such-bucket-anywhere/in/"
    )


def test_the_output_of_a_failed_job_is_uploaded_unless_a_setting_says_otherwise(aws: Aws) -> None:
    source = 'open("/opt/ml/processing/output/kept", "w").write("x"); raise SystemExit(1)'
    for upload in (True, False):
        key = f"out-{upload}"
        aws.processing(
            python(source),
            outputs=[aws.build_processing_output("output", key)],
            settings={"upload_on_failure": upload},
        )
        assert aws.tree(f"{key}/") == ({"kept": b"x"} if upload else {})


def test_the_environment_reaches_the_container_and_none_of_this_machines_does(aws: Aws) -> None:
    source = "import json, os; print(json.dumps(dict(os.environ)))"
    aws.processing(python(source), Environment={"MINE": "1"})
    (lines,) = aws.log_lines("processing").values()
    seen = json.loads(lines[0])
    assert seen["MINE"] == "1"
    assert seen["AWS_REGION"] == "us-east-1"
    assert seen["AWS_ENDPOINT_URL"] == aws.url
    assert "PYTHONPATH" not in seen


def test_network_isolation_takes_the_network_and_the_credentials(aws: Aws) -> None:
    source = """
import os, socket, sys
from urllib.parse import urlsplit
url = urlsplit(sys.argv[1])
try:
    socket.create_connection((url.hostname, url.port), timeout=2)
    print("connected", "AWS_ACCESS_KEY_ID" in os.environ)
except OSError:
    print("refused", "AWS_ACCESS_KEY_ID" in os.environ)
"""
    for isolated, printed in ((False, "connected True"), (True, "refused False")):
        name = f"isolated-{isolated}"
        aws.processing(python(source), arguments=[aws.url], name=name + aws.job, network_isolation=isolated)
        assert list(aws.log_lines("processing", name + aws.job).values()) == [[printed]]


def test_the_events_say_when_it_began_and_what_each_host_did(aws: Aws) -> None:
    aws.put_all({"in/a": "12345"})
    ended = aws.processing(
        python('import time; time.sleep(0.6); open("/opt/ml/processing/output/o", "w").write("123")'),
        inputs=[aws.build_processing_input("data", "in/")],
        outputs=[aws.build_processing_output("output", "out")],
        image=SCRIPT_IMAGE,
    )
    assert [event["event"] for event in ended.events] == ["started", "finished"]
    (host,) = ended.instances
    assert (host["host"], host["objects"], host["bytes_in"], host["bytes_out"]) == ("algo-1", 1, 5, 3)
    assert 0.6 <= host["busy_seconds"] <= host["ended"] - host["started"]


def test_the_log_stream_is_named_after_job_and_host(aws: Aws) -> None:
    aws.processing(
        python("print('one'); print('two')"),
    )
    ((stream, lines),) = aws.log_lines("processing").items()
    job, _, rest = stream.partition("/")
    host, _, epoch = rest.rpartition("-")
    assert (job, host, lines) == (aws.job, "algo-1", ["one", "two"])
    assert abs(int(epoch) / 1000 - time.time()) < 600
