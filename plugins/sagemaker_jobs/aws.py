"""Calls to AWS that outlive throttling, server errors, broken connections and the end of credentials."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError
from botocore.exceptions import ConnectionError as BotocoreConnectionError
from botocore.parsers import ResponseParserError
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from sagemaker_jobs.credentials import has_stale_credentials, renew_when_stale

_THROTTLES = frozenset(
    {
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
    }
)
_SERVER_ERRORS = frozenset(
    {
        "InternalFailure",
        "InternalServerError",
        "InternalError",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "RequestTimeout",
        "RequestTimeoutException",
    }
)
_ABSENT = frozenset({"ValidationException", "ResourceNotFound", "ResourceNotFoundException"})

CALL_PATIENCE_SECONDS = 120.0


def error_code(error: BaseException) -> str:
    """AWS's error code, or "" for anything that is no answer of AWS."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def is_transient(error: BaseException) -> bool:
    """Whether the same call may succeed a little later: throttling, 5xx, no answer at all, or no valid credentials.

    With credentials that are refused even when they are fresh, the next ones may be on their way.
    """
    if has_stale_credentials(error):
        return True
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return error_code(error) in _THROTTLES | _SERVER_ERRORS or status == 429 or status >= 500
    # OSError covers aiohttp's connection errors and asyncio's timeout, which aiobotocore lets through at
    # times.
    return isinstance(
        error, BotocoreConnectionError | HTTPClientError | IncompleteReadError | ResponseParserError | OSError
    )


def says_absent(error: BaseException) -> bool:
    """Whether a Describe or Stop answered that there is no such thing.

    SageMaker says ValidationException ("Could not find requested job …"); the modelled ResourceNotFound
    hardly appears.
    """
    return error_code(error) in _ABSENT


def says_exists(error: BaseException) -> bool:
    """Whether a Create answered that the name is taken: a job of this name exists, whatever Describe says.

    For a job that is ResourceInUse; for a model ValidationException, "Cannot create already existing model".
    """
    return error_code(error) == "ResourceInUse" or (
        isinstance(error, ClientError) and "already exist" in str(error)
    )


def client_of(hook: Any) -> Any:
    """The hook's boto3 client, whose calls outlive the end of its credentials.

    Its type cannot be told, since boto3 builds clients as it runs.
    """
    return with_fresh_credentials(hook, hook.conn)


def with_fresh_credentials(hook: Any, client: Any) -> Any:
    """The client, one of the hook's, its calls sent again with the connection's present credentials as need be."""
    from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook

    def open_session(is_async: bool) -> Any:
        # Of a hook of its own: a hook keeps the connection as it read it first.
        again = sibling(AwsBaseHook, hook)
        return again.get_session(region_name=again.region_name, deferrable=is_async)

    renew_when_stale(client, open_session)
    return client


def sibling(hook_class: Any, hook: Any) -> Any:
    """A hook of another service with the connection, region and settings of ``hook``.

    The S3 and logs hooks that SageMakerHook brings along are built without its region, verify and config.
    """
    return hook_class(
        aws_conn_id=hook.aws_conn_id,
        region_name=hook.region_name,
        verify=hook.verify,
        config=hook.config,
    )


def call(
    function: Callable[..., Any], arguments: dict[str, Any], *, patience: float = CALL_PATIENCE_SECONDS
) -> Any:
    """``function(**arguments)``, repeated with jittered, growing pauses while the error is transient.

    Gives up after ``patience`` seconds and raises the last error as it is; other errors are raised at once.
    """
    retrying = Retrying(
        retry=retry_if_exception(is_transient),
        wait=wait_random_exponential(multiplier=0.5, max=20),
        stop=stop_after_delay(patience),
        reraise=True,
    )
    return retrying(function, **arguments)


def listed(hook: Any, operation: str, key: str, **arguments: Any) -> Iterator[dict[str, Any]]:
    """The entries of a List operation, page after page, each page with the patience of ``call``."""
    wanted = {"MaxResults": 100, **arguments}
    while True:
        page = call(getattr(client_of(hook), operation), wanted)
        yield from page[key]
        if not page.get("NextToken"):
            return
        wanted["NextToken"] = page["NextToken"]


def json_safe(value: Any) -> Any:
    """``value`` with datetimes as ISO 8601 text, and without AWS's ResponseMetadata: fit for XCom."""
    if isinstance(value, dict):
        return {str(key): json_safe(item) for key, item in value.items() if key != "ResponseMetadata"}
    if isinstance(value, list | tuple | set | frozenset):
        return [json_safe(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
