"""Defines the errors that clients receive as AWS errors."""

from __future__ import annotations


class AwsError(Exception):
    """A response other than 200; `code` is the error code that botocore reports.

    A subclass states its code, its HTTP status, and the member that holds the message: modelled errors spell it
    "Message", the un-modelled ones "message" (sagemaker.md, section 1).
    """

    code: str
    status: int
    message_member = "message"

    def __init_subclass__(cls, *, code: str, status: int = 400, message_member: str = "message") -> None:
        cls.code, cls.status, cls.message_member = code, status, message_member

    def __init__(self, message: str, status: int | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if status is not None:
            self.status = status
        if code is not None:
            self.code = code

    def to_body(self) -> dict[str, str]:
        """The JSON body of the response."""
        return {"__type": self.code, self.message_member: self.message}


class ValidationError(AwsError, code="ValidationException"):
    """The request is not valid, or names a resource that does not exist."""


class SerializationError(AwsError, code="SerializationException"):
    """The body is not JSON, or a member has another JSON type than in the service model."""


class UnknownOperationError(AwsError, code="UnknownOperationException"):
    """The service has no such operation."""


class InvalidActionError(AwsError, code="InvalidAction"):
    """A service of the query protocol has no such operation."""


class MethodNotAllowedError(AwsError, code="MethodNotAllowed", status=405):
    """S3 has no such HTTP method."""


class NotImplementedHereError(AwsError, code="NotImplementedHere", status=501):
    """AWS has the service or operation, the embedded AWS does not."""


class ResourceInUseError(AwsError, code="ResourceInUse", message_member="Message"):
    """A job of this name exists."""


class ResourceLimitError(AwsError, code="ResourceLimitExceeded", message_member="Message"):
    """A quota of the account would be exceeded."""


class ConflictError(AwsError, code="ConflictException", message_member="Message"):
    """The request conflicts with an existing resource."""


class NoSuchQuotaError(AwsError, code="NoSuchResourceException", message_member="Message"):
    """Service Quotas does not know the quota."""


class QuotaPaginationTokenError(AwsError, code="InvalidPaginationTokenException", message_member="Message"):
    """The token is not one that Service Quotas returned."""


class PriceListParameterError(AwsError, code="InvalidParameterException", message_member="Message"):
    """The Price List does not take the value of a parameter."""


class PriceListTokenError(AwsError, code="InvalidNextTokenException", message_member="Message"):
    """The token is not one that the Price List returned."""


class PriceListAccessError(AwsError, code="AccessDeniedException", message_member="Message"):
    """The caller may not read the Price List."""


class ThrottlingError(AwsError, code="ThrottlingException"):
    """The request rate is exceeded."""


class MissingTokenError(AwsError, code="MissingAuthenticationTokenException", status=403):
    """The request is not signed."""


class ExpiredTokenError(AwsError, code="ExpiredTokenException"):
    """The credentials of the request are no longer valid; raised by faults only."""


class ForbiddenError(AwsError, code="AccessDenied", status=403):
    """The caller may not use the embedded AWS."""


class InternalFailureError(AwsError, code="InternalFailure", status=500):
    """An internal error of AWS, raised by a fault, or a defect of the embedded AWS."""


class ServiceUnavailableError(AwsError, code="ServiceUnavailable", status=503):
    """AWS is temporarily unavailable; raised by faults only."""
