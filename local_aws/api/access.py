"""Allows requests of programs on this machine under the server's own names; refuses those of browser pages.

A browser page can send requests to this machine without reading the responses (a form, an image), or read them too if
its own host name resolves to 127.0.0.1 (DNS rebinding). `Origin` and `Sec-Fetch-Site` show the first, `Host` the
second. All three are checked before a request is routed, so no path is left out.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import Any

from local_aws.api.error_protocols import respond_error
from local_aws.api.errors import ForbiddenError
from local_aws.api.json_protocol import Application, Environ, StartResponse

HOST_PATTERN = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[^\s:\[\]@/\\,?#]+)(?::\d{0,5})?", re.IGNORECASE)
# Value of `Sec-Fetch-Site` for a page opened by a person, e.g. by typing its address.
DIRECT_NAVIGATION = "none"
# Header of a CORS preflight request.
PREFLIGHT_HEADER = "HTTP_ACCESS_CONTROL_REQUEST_METHOD"


class AccessControl:
    """The outermost WSGI application: `application` gets allowed requests only.

    Args:
        host_names: names other than loopback's under which clients reach the server.
        allowed_origins: origins whose pages may send requests, e.g. "http://localhost:3000"; they get CORS headers.
    """

    def __init__(
        self, host_names: Sequence[str], allowed_origins: Sequence[str], application: Application
    ) -> None:
        self._host_names = frozenset({"localhost", *(name.lower() for name in host_names)})
        self._allowed_origins = frozenset(origin.lower() for origin in allowed_origins)
        self._application = application

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Refuse with 403, or pass the request on."""
        try:
            self._check_address(environ)
            self._check_host(environ)
            origin = self._check_origin(environ)
        except ForbiddenError as error:
            return respond_error(environ, start_response, error)
        cors = [] if origin is None else [("Access-Control-Allow-Origin", origin), ("Vary", "Origin")]
        if cors and environ["REQUEST_METHOD"] == "OPTIONS" and PREFLIGHT_HEADER in environ:
            start_response("204 No Content", [*cors, *_preflight_headers(environ)])
            return []

        def start_with_cors(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            # moto would let pages of every origin read its responses.
            kept = [each for each in headers if not each[0].lower().startswith("access-control-")]
            exposed = ("Access-Control-Expose-Headers", ", ".join(sorted({name for name, _ in kept})))
            return start_response(status, [*kept, *cors, *([exposed] if cors else [])], *more)

        return self._application(environ, start_with_cors)

    def _check_address(self, environ: Environ) -> None:
        address = environ.get("REMOTE_ADDR", "")
        if not _is_loopback(address):
            raise ForbiddenError(f"The embedded AWS answers on loopback only, not to {address}")

    def _check_host(self, environ: Environ) -> None:
        host = environ.get("HTTP_HOST", "")
        match = HOST_PATTERN.fullmatch(host)
        if match is None or not self._is_own_name(match["name"].lower().removesuffix(".")):
            raise ForbiddenError(
                f"Host is {host!r}, which is not a name of the embedded AWS: those are loopback addresses and "
                f"{', '.join(sorted(self._host_names))}; more can be given with --host-name"
            )

    def _is_own_name(self, name: str) -> bool:
        """Whether it is one of the server's names or a subdomain of one, as `BUCKET.localhost`."""
        return _is_loopback(name.strip("[]")) or any(
            name == own or name.endswith(f".{own}") for own in self._host_names
        )

    def _check_origin(self, environ: Environ) -> str | None:
        """The request's origin if it is allowed; None for a program's request."""
        origin: str | None = environ.get("HTTP_ORIGIN")
        if origin is not None and origin.lower() in self._allowed_origins:
            return origin
        if origin is not None or environ.get("HTTP_SEC_FETCH_SITE", DIRECT_NAVIGATION) != DIRECT_NAVIGATION:
            who = f"with Origin {origin!r}" if origin is not None else "that a page in a browser sends"
            raise ForbiddenError(
                f"The embedded AWS does not answer a request {who}; the setting allowed_origins names those whose "
                "pages may ask"
            )
        return None


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _preflight_headers(environ: Environ) -> list[tuple[str, str]]:
    return [
        ("Access-Control-Allow-Methods", "GET, HEAD, PUT, POST, DELETE"),
        ("Access-Control-Allow-Headers", environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "")),
        ("Content-Length", "0"),
    ]
