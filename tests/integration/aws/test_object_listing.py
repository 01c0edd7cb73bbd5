"""A listing read the short way holds what botocore's own parser reads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote_plus
from xml.sax.saxutils import escape

import boto3
import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batch_inference.aws.object_listing import list_objects
from batch_inference.aws.s3 import Storage

KEYS = ["in/a b.csv", "in/a+b.csv", "in/ä&<>\"'.csv", "in/%41.csv", "in/x\ny.csv", "in/date=2026-01-31/p.csv"]


class Bucket(BaseHTTPRequestHandler):
    """Answers ListObjectsV2 with the entries of the test, two on a page, or refuses."""

    protocol_version = "HTTP/1.1"
    entries: list[tuple[str, int]] = []  # noqa: RUF012 - what the server of this test shows
    refusal = False

    def do_GET(self) -> None:
        """One page; the token is where the next one begins."""
        from urllib.parse import parse_qs, urlsplit

        query = parse_qs(urlsplit(self.path).query)
        url = query.get("encoding-type") == ["url"]
        start = int(query.get("continuation-token", ["0"])[0])
        page, more = type(self).entries[start : start + 2], len(type(self).entries) > start + 2
        contents = "".join(
            f"<Contents><Key>{escape(quote_plus(key, safe='/') if url else key)}</Key>"
            "<LastModified>2026-01-31T00:00:00.000Z</LastModified><ETag>&quot;e1&quot;</ETag>"
            f"<Size>{size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
            for key, size in page
        )
        token = f"<NextContinuationToken>{start + 2}</NextContinuationToken>" if more else ""
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><Prefix>in/</Prefix>'
            f"{'<EncodingType>url</EncodingType>' if url else ''}<IsTruncated>{str(more).lower()}</IsTruncated>"
            f"{contents}{token}</ListBucketResult>"
        ).encode()
        status = 200
        if type(self).refusal:
            status, body = 403, b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """A plain boto3 client of such a bucket."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Bucket)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield boto3.client(
        "s3", endpoint_url=f"http://127.0.0.1:{server.server_port}", region_name="us-east-1",
        aws_access_key_id="test", aws_secret_access_key="test",
    )  # fmt: skip
    server.shutdown()
    server.server_close()


names = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=12)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(KEYS) | names, st.integers(0, 2**42)), max_size=7))
def test_keys_sizes_and_etags_are_those_that_botocore_reads(
    client: Any, entries: list[tuple[str, int]]
) -> None:
    """Whatever the keys hold, over several pages; other listings of the client are as ever."""
    Bucket.entries = entries
    pages = client.get_paginator("list_objects_v2").paginate(Bucket="b", Prefix="in/")
    expected = [
        (each["Key"], each["Size"], each["ETag"].strip('"'))
        for page in pages
        for each in page.get("Contents", ())
    ]
    assert [tuple(each) for each in list_objects(client, "b", "in/")] == expected
    assert [key for key, _, _ in expected] == [key for key, _ in entries]
    again = client.list_objects_v2(Bucket="b", Prefix="in/").get("Contents", [])
    assert [each["Key"] for each in again] == [key for key, _ in entries[:2]]


def test_a_refusal_is_botocores_error(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its code."""
    monkeypatch.setattr(Bucket, "refusal", True)
    with pytest.raises(ClientError, match="AccessDenied"):
        list(list_objects(client, "b", "in/"))


def test_objects_of_a_storage_leave_out_consoles_folders(storage: Storage) -> None:
    """Which are empty; a key that ends in a slash and holds data is an object. From moto's S3."""
    for key, body in (("l/a.csv", b"12"), ("l/sub/", b""), ("l/sub/b c.csv", b"12"), ("l/data/", b"12")):
        storage.client.put_object(Bucket="bucket", Key=key, Body=body)
    found = list(storage.list_objects("s3://bucket/l/"))
    assert [(each.key, each.size) for each in found] == [("l/a.csv", 2), ("l/data/", 2), ("l/sub/b c.csv", 2)]
    assert found[0].etag == storage.head("s3://bucket/l/a.csv")["etag"]
