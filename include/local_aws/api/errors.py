"""Defines the errors that clients receive as AWS errors.

AwsError
├── ValidationError          400 ValidationException
├── SerializationError       400 SerializationException
├── UnknownOperationError    400 UnknownOperationException
├── InvalidActionError       400 InvalidAction
├── MethodNotAllowedError    405 MethodNotAllowed
├── NotImplementedHereError  501 NotImplementedHere
├── ResourceInUseError       400 ResourceInUse
├── ResourceLimitError       400 ResourceLimitExceeded
├── ConflictError            400 ConflictException
├── NoSuchResourceError      400 NoSuchResourceException
├── PaginationTokenError     400 InvalidPaginationTokenException
├── ThrottlingError          400 ThrottlingException
├── ExpiredTokenError        400 ExpiredTokenException
├── MissingTokenError        403 MissingAuthenticationTokenException
├── ForbiddenError           403 AccessDenied
├── InternalFailureError     500 InternalFailure
└── ServiceUnavailableError  503 ServiceUnavailable
"""

from __future__ import annotations

from typing import ClassVar


class AwsError(Exception):
    """A response other than 200; `code` is the error code that botocore reports."""

    code: str = "InternalFailure"
    status: int = 500
    # Modelled errors spell the member "Message", the un-modelled ones "message" (sagemaker.md, section 1).
    message_member: ClassVar[str] = "message"

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        if status is not None:
            self.status = status

    def to_body(self) -> dict[str, str]:
        """The JSON body of the response."""
        return {"__type": self.code, self.message_member: self.message}


class ValidationError(AwsError):
    """The request is not valid, or names a resource that does not exist."""

    code = "ValidationException"
    status = 400


class SerializationError(AwsError):
    """The body is not JSON, or a member has another JSON type than in the service model."""

    code = "SerializationException"
    status = 400


class UnknownOperationError(AwsError):
    """The service has no such operation."""

    code = "UnknownOperationException"
    status = 400


class InvalidActionError(AwsError):
    """A service of the query protocol has no such operation."""

    code = "InvalidAction"
    status = 400


class MethodNotAllowedError(AwsError):
    """S3 has no such HTTP method."""

    code = "MethodNotAllowed"
    status = 405


class NotImplementedHereError(AwsError):
    """AWS has the service or operation, the embedded AWS does not."""

    code = "NotImplementedHere"
    status = 501


class ResourceInUseError(AwsError):
    """A job of this name exists."""

    code = "ResourceInUse"
    status = 400
    member = "Message"


class ResourceLimitError(AwsError):
    """A quota of the account would be exceeded."""

    code = "ResourceLimitExceeded"
    status = 400
    member = "Message"


class ConflictError(AwsError):
    """The request conflicts with an existing resource."""

    code = "ConflictException"
    status = 400
    member = "Message"


class NoSuchResourceError(AwsError):
    """Service Quotas does not know the quota."""

    code = "NoSuchResourceException"
    status = 400
    member = "Message"


class PaginationTokenError(AwsError):
    """The token is not one that Service Quotas returned."""

    code = "InvalidPaginationTokenException"
    status = 400
    member = "Message"


class ThrottlingError(AwsError):
    """The request rate is exceeded."""

    code = "ThrottlingException"
    status = 400


class MissingTokenError(AwsError):
    """The request is not signed."""

    code = "MissingAuthenticationTokenException"
    status = 403


class ExpiredTokenError(AwsError):
    """The credentials of the request are no longer valid; raised by faults only."""

    code = "ExpiredTokenException"
    status = 400


class ForbiddenError(AwsError):
    """The caller may not use the embedded AWS."""

    code = "AccessDenied"
    status = 403


class InternalFailureError(AwsError):
    """An internal error of AWS, raised by a fault, or a defect of the embedded AWS."""

    code = "InternalFailure"
    status = 500


class ServiceUnavailableError(AwsError):
    """AWS is temporarily unavailable; raised by faults only."""

    code = "ServiceUnavailable"
    status = 503
