"""Security headers of every response: no foreign content, only our inline code, only Airflow's frame."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable

from fastapi import Request, Response

#: For downloads: if the browser opens one anyway, nothing in it runs on Airflow's origin.
SANDBOX_POLICY = "default-src 'none'; sandbox"


def build_page_policy(nonce: str) -> str:
    """The content security policy of a page whose inline styles have this nonce."""
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    )


async def add_security_headers(
    request: Request, call_next: Callable[[Request], Awaitable[Response]]
) -> Response:
    """Middleware: creates the nonce for the templates, and sets the headers."""
    request.state.nonce = secrets.token_urlsafe(16)
    answer = await call_next(request)
    answer.headers.setdefault("Content-Security-Policy", build_page_policy(request.state.nonce))
    answer.headers.setdefault("Cache-Control", "no-store")
    answer.headers["X-Content-Type-Options"] = "nosniff"
    answer.headers["Referrer-Policy"] = "same-origin"
    answer.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    return answer
