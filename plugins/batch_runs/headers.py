"""What every answer tells the browser: nothing from elsewhere, no inline code but ours, no frame but Airflow's."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable

from fastapi import Request, Response

#: For what is handed out to be kept, not shown: were it opened all the same, it would run nothing in Airflow's name.
SANDBOX = "default-src 'none'; sandbox"


def page_policy(nonce: str) -> str:
    """The content security policy of a page whose inline style and data carry this nonce."""
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    )


async def guarded(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Middleware: draws the nonce that templates use, and sets the headers."""
    request.state.nonce = secrets.token_urlsafe(16)
    answer = await call_next(request)
    answer.headers.setdefault("Content-Security-Policy", page_policy(request.state.nonce))
    answer.headers.setdefault("Cache-Control", "no-store")
    answer.headers["X-Content-Type-Options"] = "nosniff"
    answer.headers["Referrer-Policy"] = "same-origin"
    answer.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    return answer
