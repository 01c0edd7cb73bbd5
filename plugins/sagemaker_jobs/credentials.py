"""Fresh credentials for a client whose own AWS no longer takes, in the middle of a call.

Credentials end while a task runs: a session token expires, an access key is rotated. botocore asks its handlers after
each answer whether to send the request again, and signs anew if so. The handler here gives the client the credentials
that the hook's connection has now, so that every call of the client outlives their end: those that are made through
``sagemaker_jobs.aws.call``, those of the provider's own methods, and those of paginators and transfers.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from typing import Any

from asgiref.sync import sync_to_async
from botocore.exceptions import (
    ClientError,
    CredentialRetrievalError,
    MetadataRetrievalError,
    NoCredentialsError,
)

log = logging.getLogger(__name__)

EVENT = "needs-retry"
_STALE = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "RequestExpired",
        "TokenRefreshRequired",
        # Of a key that has been rotated away; a new one is unknown too, until AWS knows it everywhere.
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidToken",
        "UnrecognizedClientException",
    }
)
_RENEWED = "fresh_credentials"


def has_stale_credentials(error: BaseException) -> bool:
    """Whether the call may succeed with fresh credentials."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", "")) in _STALE
    return isinstance(error, CredentialRetrievalError | MetadataRetrievalError | NoCredentialsError)


def renew_when_stale(client: Any, open_session: Callable[[bool], Any]) -> None:
    """Let each call of the client be sent once more, with fresh credentials, when its own are refused.

    ``open_session`` gives a new session of the client's connection, for aiobotocore if its argument is true. Any number
    of times for the same client, which is one of botocore or of aiobotocore.
    """
    is_async = inspect.iscoroutinefunction(client._make_api_call)

    def renew_credentials(
        operation: Any, request_dict: dict[str, Any], response: Any = None, **_: Any
    ) -> Any:
        context = request_dict["context"]
        if response is None or context.get(_RENEWED) or not _is_stale(response[1], operation.name):
            return None
        context[_RENEWED] = True
        log.warning("AWS refuses the credentials for %s: %s", operation.name, response[1]["Error"])
        if is_async:
            return _replace_later(client, open_session)
        return _replace(client, open_session(False).get_credentials())

    client.meta.events.register(EVENT, renew_credentials, unique_id="fresh-credentials")


def _is_stale(answer: dict[str, Any], operation: str) -> bool:
    """Whether AWS's answer refuses the credentials; an answer to HEAD has no body that could say why it is a 400."""
    code = str(answer.get("Error", {}).get("Code", ""))
    return code in _STALE or (code == "400" and operation.startswith("Head"))


async def _replace_later(client: Any, open_session: Callable[[bool], Any]) -> int | None:
    session = await sync_to_async(open_session)(True)
    return _replace(client, await session.get_credentials())


def _replace(client: Any, credentials: Any) -> int | None:
    """Sign with these from now on; the pause before the call is sent again, None where there is nothing to sign with.

    A client has no public way to be given others; the provider's session factory sets those of a session alike.
    """
    if credentials is None:
        return None
    client._request_signer._credentials = credentials
    return 0
