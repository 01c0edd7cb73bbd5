"""Renews a client's credentials during a call when AWS rejects them.

Credentials expire while a task runs: a session token ends, an access key is rotated. After each response botocore asks
its handlers whether to repeat the request, and signs it again if so. The handler here gives the client the current
credentials of the hook's connection. It covers every call of the client: through
``sagemaker_jobs.aws.call_with_retries``, the provider's own methods, paginators and transfers.
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

RETRY_EVENT = "needs-retry"
_STALE = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "RequestExpired",
        "TokenRefreshRequired",
        # A key that was rotated away, or a new one that has not reached all of AWS yet.
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidToken",
        "UnrecognizedClientException",
    }
)
_RENEWED = "fresh_credentials"


def is_stale_credentials_error(error: BaseException) -> bool:
    """Whether the call may succeed with fresh credentials."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", "")) in _STALE
    return isinstance(error, CredentialRetrievalError | MetadataRetrievalError | NoCredentialsError)


def register_credential_renewal(client: Any, open_session: Callable[[bool], Any]) -> None:
    """Repeat each call of the client once, with fresh credentials, when AWS rejects its own.

    ``open_session`` returns a new session of the client's connection, an aiobotocore one if its argument is true.
    Idempotent for the same client, which may be of botocore or of aiobotocore.
    """
    is_async = inspect.iscoroutinefunction(client._make_api_call)

    def renew_credentials(
        operation: Any, request_dict: dict[str, Any], response: Any = None, **_: Any
    ) -> Any:
        context = request_dict["context"]
        if response is None or context.get(_RENEWED) or not _refuses_credentials(response[1], operation.name):
            return None
        context[_RENEWED] = True
        log.warning("AWS rejected the credentials for %s: %s", operation.name, response[1]["Error"])
        if is_async:
            return _replace_credentials_async(client, open_session)
        return _replace_credentials(client, open_session(False).get_credentials())

    client.meta.events.register(RETRY_EVENT, renew_credentials, unique_id="fresh-credentials")


def _refuses_credentials(answer: dict[str, Any], operation: str) -> bool:
    """Whether AWS's response rejects the credentials; a 400 to HEAD counts, since it has no body with a code."""
    code = str(answer.get("Error", {}).get("Code", ""))
    return code in _STALE or (code == "400" and operation.startswith("Head"))


async def _replace_credentials_async(client: Any, open_session: Callable[[bool], Any]) -> int | None:
    session = await sync_to_async(open_session)(True)
    return _replace_credentials(client, await session.get_credentials())


def _replace_credentials(client: Any, credentials: Any) -> int | None:
    """Set the client's credentials; the pause before the call is repeated, or None without credentials.

    botocore has no public way to replace a client's credentials; the provider's session factory does the same for a
    session.
    """
    if credentials is None:
        return None
    client._request_signer._credentials = credentials
    return 0
