"""S3 that is slow or breaks: what is survived, what is lost; and objects that appear whole or not at all."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from botocore.exceptions import ClientError

from local_aws.runner.data.inputs import InputObject, assign_objects, list_input_objects
from local_aws.runner.data.s3_objects import BrokenReadError, S3Address, S3Storage, make_client
from tests.integration.local_aws.runner.harness import Aws
from tools.benchmarks.embedded_aws import ECHO

CSV_LINES = {"ContentType": "text/csv", "SplitType": "Line"}
CSV_OUT = {"Accept": "text/csv", "AssembleWith": "Line"}


class Breaking(ThreadingHTTPServer):
    """Passes GETs on to another S3, but closes the connection after `after` bytes, `times` times."""

    daemon_threads = True
    upstream = ""
    after = 0
    times = 0


class Handler(BaseHTTPRequestHandler):
    server: Breaking

    def do_GET(self) -> None:
        wanted = {
            name: self.headers[name]
            for name in ("Range", "If-Match", "Authorization")
            if name in self.headers
        }
        with urlopen(Request(self.server.upstream + self.path, headers=wanted)) as answer:
            body = answer.read()
            self.send_response(answer.status)
            self.send_header("ETag", answer.headers["ETag"])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
        if self.server.times > 0:
            self.server.times -= 1
            body = body[: self.server.after]
            self.close_connection = True
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture
def breaking(moto_url: str) -> Iterator[Breaking]:
    server = Breaking(("127.0.0.1", 0), Handler)
    server.upstream = moto_url
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def s3_of(url: str, folder: Path) -> S3Storage:
    return S3Storage(make_client("s3", "us-east-1", url), folder)


def test_a_broken_download_goes_on_where_it_broke(aws: Aws, breaking: Breaking, tmp_path: Path) -> None:
    body = bytes(range(256)) * 20_000
    aws.put_all({"a": body})
    breaking.after, breaking.times = 1_500_000, 2
    s3 = s3_of(f"http://127.0.0.1:{breaking.server_port}", tmp_path)
    assert b"".join(s3.stream_object(S3Address(aws.bucket, "a"))) == body
    assert breaking.times == 0


def test_a_download_that_makes_no_progress_is_given_up(aws: Aws, breaking: Breaking, tmp_path: Path) -> None:
    aws.put_all({"a": b"x" * 100})
    breaking.after, breaking.times = 0, 1_000
    s3 = s3_of(f"http://127.0.0.1:{breaking.server_port}", tmp_path)
    with pytest.raises(BrokenReadError, match=r"/a broke off after 0 bytes"):
        list(s3.stream_object(S3Address(aws.bucket, "a")))


def test_a_writer_leaves_nothing_after_an_abort_and_the_whole_after_a_close(aws: Aws, tmp_path: Path) -> None:
    s3 = s3_of(aws.url, tmp_path)
    piece = b"x" * 1_000_000

    def write(count: int, *, fail: bool) -> None:
        with s3.open_writer(S3Address(aws.bucket, "a")) as target:
            for _ in range(count):
                target.write(piece)
            if fail:
                raise RuntimeError("on purpose")

    for count in (1, 20):
        with pytest.raises(RuntimeError, match="on purpose"):
            write(count, fail=True)
        assert aws.keys("") == []
        assert "Uploads" not in aws.s3.list_multipart_uploads(Bucket=aws.bucket)
    write(20, fail=False)
    assert aws.get("a") == piece * 20
    with s3.open_writer(S3Address(aws.bucket, "empty")):
        pass
    assert aws.get("empty") == b""


def test_an_object_that_vanishes_loses_only_its_own_output(aws: Aws) -> None:
    """The manifest is right when the job starts; the first record takes the second object away."""
    vanish = ECHO.replace(
        "return body",
        "import boto3, os\n"
        "    if body.startswith('delete'):\n"
        "        boto3.client('s3').delete_object(Bucket=os.environ['BUCKET'], Key='in/b')\n"
        "    return body",
    )
    aws.put_all({"in/a": "delete\n", "in/b": "2\n", "in/c": "3\n"})
    ended = aws.transform(
        [aws.script(vanish, environment={"BUCKET": aws.bucket})],
        transform_input=CSV_LINES,
        transform_output=CSV_OUT,
        settings={"concurrency_across_objects": False},
    )
    assert ended.outcome == ("Failed", "ClientError: See job logs for more information")
    assert aws.tree("out/") == {"a.out": b"delete\n", "c.out": b"3\n"}


@pytest.mark.parametrize(
    ("uri", "bucket", "key"),
    [("s3://b", "b", ""), ("s3://b/", "b", ""), ("s3://b/a/b c?d#e", "b", "a/b c?d#e")],
)
def test_addresses_are_read_as_s3_reads_them(uri: str, bucket: str, key: str) -> None:
    assert S3Address.parse(uri) == S3Address(bucket, key)


@pytest.mark.parametrize("uri", ["b/key", "http://b/key", "s3://", ""])
def test_what_is_no_address_is_refused_by_name(uri: str) -> None:
    with pytest.raises(ValueError, match="is not an S3 URI"):
        S3Address.parse(uri)


def objects(count: int) -> list[InputObject]:
    return [InputObject("b", f"{number:03}", f"{number:03}", 1) for number in range(count)]


@pytest.mark.parametrize("assignment", ["contiguous", "round_robin", "hash"])
@pytest.mark.parametrize(("count", "hosts"), [(1, 4), (7, 3), (100, 2), (100, 7)])
def test_every_object_goes_to_exactly_one_host(assignment: str, count: int, hosts: int) -> None:
    shares = assign_objects(objects(count), hosts, assignment)
    assert len(shares) == hosts
    assert sorted(item.key for part in shares for item in part) == [item.key for item in objects(count)]
    if assignment != "hash":
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(
    "manifest",
    ["{}", "[]", "not json", '["a", "b"]', '[{"prefix": 1}, "a"]', '[{"prefix": "s3://x/"}, "missing"]'],
)
def test_a_manifest_that_cannot_be_used_fails_the_job(aws: Aws, manifest: str) -> None:
    aws.put(manifest=manifest)
    ended = aws.transform([aws.script(ECHO)], source="manifest", data_type="ManifestFile")
    status, reason = ended.outcome
    assert status == "Failed"
    assert str(reason).startswith("ClientError: Failed to download data. ")


def test_a_manifest_without_names_is_its_prefix(aws: Aws, tmp_path: Path) -> None:
    aws.put_all({"in/a": "1", "in/b/c": "2", "manifest": f'[{{"prefix": "{aws.uri("in/")}"}}]'})
    found = list_input_objects(
        s3_of(aws.url, tmp_path), "ManifestFile", aws.uri("manifest"), skip_folder_keys=True
    )
    assert [(item.key, item.relative_key, item.size) for item in found] == [
        ("in/a", "a", 1),
        ("in/b/c", "b/c", 1),
    ]


def test_a_bucket_that_is_not_there_is_an_error_of_s3(aws: Aws, tmp_path: Path) -> None:
    with pytest.raises(ClientError, match="NoSuchBucket"):
        list(s3_of(aws.url, tmp_path).list_objects(S3Address("no-such-bucket-anywhere", "")))
