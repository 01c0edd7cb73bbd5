"""Pages of a browser, and names that are not the server's, are refused on every path before anything is done."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import botocore.session
import pytest

from local_aws.api.access import AccessControl
from local_aws.api.services import SERVICES
from tests.integration.local_aws.api.conftest import FAST
from tests.integration.local_aws.api.raw import Answer, send, signed
from tests.integration.local_aws.conftest import Aws
from tests.integration.local_aws.servers import Server

pytestmark = pytest.mark.local_only

FORM = ("Content-Type", "application/x-www-form-urlencoded")
Route = tuple[str, str, list[tuple[str, str]], bytes]


def _routes(bucket: str, key: str) -> list[Route]:
    """A request for everything that answers: each page of /_local, each service that is served, each operation of
    SageMaker, each method of S3, and what moto has beside its services."""
    routes: list[Route] = [
        (method, f"/_local/{page}", [], b"{}")
        for method in ("GET", "POST", "DELETE")
        for page in ("health", "usage", "settings", "faults", "nothing")
    ]
    for service in SERVICES:
        model = botocore.session.get_session().get_service_model(service.botocore_name)
        names = model.operation_names if service.name == "SageMaker" else model.operation_names[:3]
        for name in names:
            if service.target_prefix:
                target = ("X-Amz-Target", f"{service.target_prefix}{name}")
                routes.append(("POST", "/", [target, signed(service.signing_name)], b"{}"))
            elif service.protocol == "query":
                form = f"Action={name}&Version={model.api_version}".encode()
                routes.append(("POST", "/", [FORM, signed(service.signing_name)], form))
    objects = ("/", f"/{bucket}", f"/{bucket}/{key}", f"/{bucket}/{key}?uploads", f"/{bucket}?delete")
    for path in objects:
        for method in ("GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS"):
            routes += [(method, path, [signed("s3")], b"x"), (method, path, [], b"x")]
    others = (
        "/moto-api/reset",
        "/moto-api/data.json",
        "/latest/meta-data/",
        "/favicon.ico",
        "/endpoints/x/invocations",
    )
    routes += [(method, path, [], b"") for method in ("GET", "POST") for path in others]
    routes.append(("POST", "/", [("X-Amz-Target", "AWSEvents.PutRule"), signed("events")], b"{}"))
    routes.append(("POST", "/", [FORM], b"Action=AssumeRoleWithWebIdentity"))
    return routes


@pytest.fixture
def stored(aws: Aws, s3_prefix: str) -> str:
    """The URI of an object that must stay as it is."""
    return aws.put(f"{s3_prefix}model.tar.gz", b"the model")


@pytest.mark.parametrize(
    ("host", "headers"),
    [
        ("127.0.0.1", [("Origin", "http://evil.example")]),
        ("127.0.0.1", [("Origin", "null")]),
        ("127.0.0.1", [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors")]),
        ("evil.example:5600", []),
    ],
)
def test_no_path_answers_a_page_or_a_foreign_name(
    aws: Aws, stored: str, host: str, headers: list[tuple[str, str]]
) -> None:
    """Whatever the method and whoever would have answered; and nothing is done."""
    bucket, _, key = stored.removeprefix("s3://").partition("/")
    for method, path, own, body in _routes(bucket, key):
        answer = send(str(aws.endpoint_url), method, path, [*own, *headers], body, host=host)
        assert answer.status == 403, (method, path, own)
        assert method == "HEAD" or b"AccessDenied" in answer.body
        assert "access-control-allow-origin" not in answer.headers
    assert aws.get(stored) == b"the model"
    assert aws.keys(stored.removesuffix("model.tar.gz")) == ["model.tar.gz"]
    assert aws.server is not None
    assert aws.server.local("GET", "faults") == {"faults": []}


def _form(fields: dict[str, str], content: bytes) -> tuple[tuple[str, str], bytes]:
    """A form as a browser posts it, with a file; its Content-Type and its body."""
    parts = [
        f'--edge\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    file = '--edge\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    body = "".join(parts).encode() + file.encode() + content + b"\r\n--edge--\r\n"
    return ("Content-Type", "multipart/form-data; boundary=edge"), body


def test_a_form_of_a_page_does_not_replace_the_archive_of_a_model(aws: Aws, s3: Any, stored: str) -> None:
    """The same form, sent by a program, does; so does a presigned PUT, which a page may not use either."""
    bucket, _, key = stored.removeprefix("s3://").partition("/")
    fields = s3.generate_presigned_post(bucket, key)["fields"]
    content_type, body = _form(fields, b"another model")
    origin = ("Origin", "https://evil.example")
    assert send(str(aws.endpoint_url), "POST", f"/{bucket}", [content_type, origin], body).status == 403
    url = urlsplit(s3.generate_presigned_url("put_object", {"Bucket": bucket, "Key": key}))
    target = f"{url.path}?{url.query}"
    assert send(str(aws.endpoint_url), "PUT", target, [origin], b"another model").status == 403
    assert aws.get(stored) == b"the model"
    assert send(str(aws.endpoint_url), "POST", f"/{bucket}", [content_type], body).status in (200, 204)
    assert aws.get(stored) == b"another model"
    assert send(str(aws.endpoint_url), "PUT", target, [], b"a third").status == 200
    assert aws.get(stored) == b"a third"


def _health(aws: Aws, **how: Any) -> Answer:
    return send(str(aws.endpoint_url), "GET", how.pop("target", "/_local/health"), **how)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:5600", "127.1.2.3:80", "[::1]", "[::1]:5600", "localhost", "LocalHost:1", "localhost.:1",
     "bucket.localhost:5600", "my.bucket.s3.us-east-1.localhost"],
)  # fmt: skip
def test_loopback_and_localhost_are_names_of_the_server(aws: Aws, host: str) -> None:
    """On any port, since ports are passed on; names below localhost are loopback's as well."""
    assert _health(aws, host=host).status == 200


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "evil-localhost", "0.0.0.0:5600", "[::]",
     "10.0.0.1", "128.0.0.1", "127.1", "2130706433", "local-aws:5600", "localhost:5600@evil.example",
     "evil.example@localhost", "localhost/evil", "localhost,evil.example", "[::1", "::1", "localhost:x", "localhost ."],
)  # fmt: skip
def test_any_other_host_is_refused(aws: Aws, host: str) -> None:
    """Also names that only look like the server's, and numbers that only some would read as loopback's."""
    assert _health(aws, host=host).status == 403


def test_a_host_counts_wherever_a_request_has_it(aws: Aws) -> None:
    """Two headers, the absolute form of the target, none at all in HTTP/1.0."""
    assert _health(aws, host="127.0.0.1", headers=[("Host", "evil.example")]).status == 403
    assert _health(aws, host="evil.example", headers=[("Host", "127.0.0.1")]).status == 403
    assert _health(aws, target="http://evil.example/_local/health").status == 403
    assert _health(aws, target="http://127.0.0.1@evil.example/_local/health").status == 403
    assert _health(aws, target="http://127.0.0.1/_local/health").status == 200
    assert _health(aws, host=None, version="HTTP/1.0").status == 403
    assert _health(aws, host="127.0.0.1", version="HTTP/1.0").status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("Origin", "")], 403),
        ([("Origin", "http://127.0.0.1")], 403),
        ([("Origin", "http://localhost:5600")], 403),
        ([("Origin", "http://evil.example"), ("Upgrade", "websocket"), ("Connection", "Upgrade")], 403),
        ([("Sec-Fetch-Site", "cross-site")], 403),
        ([("Sec-Fetch-Site", "same-site")], 403),
        ([("Sec-Fetch-Site", "same-origin")], 403),
        ([("Sec-Fetch-Site", "none"), ("Sec-Fetch-Site", "cross-site")], 403),
        ([("Sec-Fetch-Site", "none"), ("Sec-Fetch-Mode", "navigate")], 200),
    ],
)
def test_only_a_page_that_a_person_opened_is_answered(
    aws: Aws, headers: list[tuple[str, str]], status: int
) -> None:
    """Typing /_local/usage into a browser works; a page, be it one of this very server, cannot ask."""
    assert _health(aws, headers=headers).status == status


def test_names_and_origins_that_are_given_may_come_in(start_server: Callable[..., Server]) -> None:
    """A name with all names below it; an origin with CORS, so that its pages can read the answers; no other."""
    url = start_server(
        {**FAST, "host_names": ["Local-AWS"], "allowed_origins": ["http://app.localhost:3000"]}
    ).url
    for host, status in (
        ("local-aws:5600", 200),
        ("bucket.local-aws", 200),
        ("notlocal-aws", 403),
        ("aws", 403),
    ):
        assert send(url, "GET", "/_local/health", host=host).status == status
    page = ("Origin", "http://app.localhost:3000")
    target = ("X-Amz-Target", "SageMaker.ListModels")
    cross = ("Sec-Fetch-Site", "cross-site")
    answer = send(url, "POST", "/", [target, signed("sagemaker"), page, cross], b"{}")
    assert (answer.status, json.loads(answer.body)) == (200, {"Models": []})
    assert answer.headers["access-control-allow-origin"] == page[1]
    asked = [("Access-Control-Request-Method", "POST"), ("Access-Control-Request-Headers", "x-amz-target")]
    preflight = send(url, "OPTIONS", "/", [page, *asked])
    assert preflight.status == 204
    assert preflight.headers["access-control-allow-headers"] == "x-amz-target"
    for origin in ("http://app.localhost:3001", "https://app.localhost:3000", "http://evil.example"):
        assert send(url, "OPTIONS", "/", [("Origin", origin), *asked]).status == 403
        assert send(url, "POST", "/", [target, signed("sagemaker"), ("Origin", origin)], b"{}").status == 403


@pytest.mark.parametrize("style", ["path", "virtual"])
def test_clients_reach_buckets_in_both_styles(aws: Aws, s3_prefix: str, style: str) -> None:
    """`BUCKET.localhost` is how a client says a bucket when told to; the address is given, as no resolver is asked."""
    aws.put(f"{s3_prefix}key", b"x")
    bucket, _, prefix = s3_prefix.removeprefix("s3://").partition("/")
    host, path = (f"{bucket}.localhost", "") if style == "virtual" else ("localhost", f"/{bucket}")
    answer = send(str(aws.endpoint_url), "GET", f"{path}/{prefix}key", [signed("s3")], host=host)
    assert (answer.status, answer.body) == (200, b"x")
    assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_the_refusal_says_what_to_do(aws: Aws, s3: Any) -> None:
    """In S3's form for a client of S3, in JSON's for one of SageMaker."""
    answer = send(str(aws.endpoint_url), "GET", "/bucket/key", [signed("s3")], host="aws.internal")
    assert answer.body.startswith(b"<?xml")
    assert b"Host is 'aws.internal', which is not a name of the embedded AWS" in answer.body
    assert b"--host-name" in answer.body
    target = ("X-Amz-Target", "SageMaker.ListModels")
    answer = send(str(aws.endpoint_url), "POST", "/", [target, ("Origin", "null")], b"{}")
    assert json.loads(answer.body)["__type"] == "AccessDenied"
    assert "allowed_origins" in json.loads(answer.body)["message"]


def test_other_machines_are_refused_whatever_address_is_listened_on() -> None:
    """The server binds loopback; behind something else, the application refuses by itself."""
    statuses: list[str] = []
    access = AccessControl([], [], lambda environ, start: start("200 OK", []) or [b""])
    for address in ("127.0.0.1", "10.0.0.9", ""):
        environ = {
            "REMOTE_ADDR": address,
            "HTTP_HOST": "127.0.0.1",
            "REQUEST_METHOD": "GET",
            "PATH_INFO": "/",
        }
        list(access(environ, lambda status, headers: statuses.append(status)))
    assert [status.split()[0] for status in statuses] == ["200", "403", "403"]


def test_a_name_is_given_on_the_command_line(start_server: Callable[..., Server]) -> None:
    """`--host-name`, as docker-compose.yaml gives it, is the setting host_names."""
    from local_aws.__main__ import _parser

    options = _parser().parse_args(["serve", "--host-name", "local-aws", "--host-name", "other"])
    assert options.host_names == ["local-aws", "other"]
    server = start_server({**FAST, "host_names": options.host_names})
    with urllib.request.urlopen(f"{server.url}/_local/settings", timeout=30) as answer:
        assert json.load(answer)["host_names"] == options.host_names
