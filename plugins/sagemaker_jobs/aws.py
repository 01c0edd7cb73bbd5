"""Calls AWS with retries: throttling, server errors, broken connections and expired credentials."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError
from botocore.exceptions import ConnectionError as BotocoreConnectionError
from botocore.parsers import ResponseParserError
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from sagemaker_jobs.credentials import is_stale_credentials_error, register_credential_renewal

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

CALL_RETRY_SECONDS = 120.0
#: botocore's name of what reads its models, and the one that all sessions share.
_MODELS = "data_loader"
_SHARED_MODELS: dict[str, Any] = {}


def get_error_code(error: BaseException) -> str:
    """AWS's error code; "" for an error that is not an AWS response."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def is_transient_error(error: BaseException) -> bool:
    """Whether the same call may succeed later: throttling, 5xx, no response, or no valid credentials.

    Rejected credentials count as transient even when they are fresh: a rotation may be in progress.
    """
    if is_stale_credentials_error(error):
        return True
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return get_error_code(error) in _THROTTLES | _SERVER_ERRORS or status == 429 or status >= 500
    # OSError covers aiohttp's connection errors and asyncio's timeout, which aiobotocore sometimes lets through.
    return isinstance(
        error, BotocoreConnectionError | HTTPClientError | IncompleteReadError | ResponseParserError | OSError
    )


def is_not_found_error(error: BaseException) -> bool:
    """Whether a Describe or Stop answered that the resource does not exist.

    SageMaker answers ValidationException ("Could not find requested job …"); the modelled ResourceNotFound
    is rare.
    """
    return get_error_code(error) in _ABSENT


def is_already_exists_error(error: BaseException) -> bool:
    """Whether a Create answered that the name is taken: a job of this name exists, even if Describe cannot see it.

    For a job this is ResourceInUse; for a model ValidationException, "Cannot create already existing model".
    """
    says_so = isinstance(error, ClientError) and "already exist" in str(error)
    return says_so or get_error_code(error) == "ResourceInUse"


def get_client(hook: Any) -> Any:
    """The hook's boto3 client, which renews expired credentials during a call.

    Typed as Any, since boto3 builds client classes at run time.
    """
    if "conn" not in vars(hook):
        hook.conn = _create_client(hook)
    return attach_credential_renewal(hook, hook.conn)


def _create_client(hook: Any) -> Any:
    """What the provider's ``get_client_type`` creates, with models that were read before in this process.

    Each session would read AWS's endpoints and the model of the service again. boto3 has no public way to its botocore
    session; the provider shares the models of its aiobotocore sessions alike.
    """
    session = hook.get_session(region_name=hook.region_name)
    botocore_session = session._session
    models = _SHARED_MODELS.setdefault(_MODELS, botocore_session.get_component(_MODELS))
    botocore_session.register_component(_MODELS, models)
    service = hook.client_type
    return session.client(
        service_name=service,
        endpoint_url=hook.conn_config.get_service_endpoint_url(service_name=service),
        config=hook._get_config(),
        verify=hook.verify,
    )


def attach_credential_renewal(hook: Any, client: Any) -> Any:
    """The hook's client, set to repeat a call with the connection's current credentials when AWS rejects its own."""
    from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook

    def open_session(is_async: bool) -> Any:
        # A new hook, since a hook caches the connection that it read first.
        sibling_hook = build_sibling_hook(AwsBaseHook, hook)
        return sibling_hook.get_session(region_name=sibling_hook.region_name, deferrable=is_async)

    register_credential_renewal(client, open_session)
    return client


def build_sibling_hook(hook_class: Any, hook: Any) -> Any:
    """A hook of another service with the connection, region and settings of ``hook``.

    SageMakerHook's own S3 and logs hooks are built without its region, verify and config.
    """
    which = {"aws_conn_id": hook.aws_conn_id, "region_name": hook.region_name}
    return hook_class(**which, verify=hook.verify, config=hook.config)


def get_sibling_client(hook_class: Any, hook: Any) -> Any:
    """The client of another service with the settings of ``hook``, which keeps it: to create one takes 0.1 s of CPU."""
    clients = vars(hook).setdefault("_sibling_clients", {})
    if hook_class not in clients:
        clients[hook_class] = get_client(build_sibling_hook(hook_class, hook))
    return clients[hook_class]


def call_with_retries(
    function: Callable[..., Any], arguments: dict[str, Any], *, retry_seconds: float = CALL_RETRY_SECONDS
) -> Any:
    """``function(**arguments)``, repeated with jittered, growing pauses while the error is transient.

    Raises the last error unchanged after ``retry_seconds``; other errors are raised at once.
    """
    retrying = Retrying(
        retry=retry_if_exception(is_transient_error),
        wait=wait_random_exponential(multiplier=0.5, max=20),
        stop=stop_after_delay(retry_seconds),
        reraise=True,
    )
    return retrying(function, **arguments)


def list_pages(
    method: Callable[..., Any],
    request: dict[str, Any],
    request_field: str = "NextToken",
    response_field: str | None = None,
    *,
    retry_seconds: float = CALL_RETRY_SECONDS,
) -> Iterator[dict[str, Any]]:
    """The pages of a client's List method; each is requested by ``call_with_retries``.

    ``request_field`` holds the token that continues a list, ``response_field`` the one of the next page where its name
    differs.
    """
    request = dict(request)
    while True:
        page = call_with_retries(method, request, retry_seconds=retry_seconds)
        yield page
        next_token = page.get(response_field or request_field)
        # At the end of a log stream, AWS returns the token of the request.
        if not next_token or next_token == request.get(request_field):
            return
        request[request_field] = next_token


def list_entries(hook: Any, operation: str, entries_field: str, **arguments: Any) -> Iterator[dict[str, Any]]:
    """The entries of all pages of a SageMaker List operation."""
    for page in list_pages(getattr(get_client(hook), operation), {"MaxResults": 100, **arguments}):
        yield from page[entries_field]


def get_input_shape(hook: Any, operation: str) -> Any:
    """botocore's shape of the request of an operation, such as "CreateModel"."""
    return get_client(hook).meta.service_model.operation_model(operation).input_shape


def to_json_safe(value: Any) -> Any:
    """``value`` with datetimes as ISO 8601 text and without AWS's ResponseMetadata, so that it fits into XCom."""
    if isinstance(value, dict):
        return {str(key): to_json_safe(item) for key, item in value.items() if key != "ResponseMetadata"}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_json_safe(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
