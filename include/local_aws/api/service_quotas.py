"""Service Quotas for SageMaker: what the settings say of instances, as an account would read it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from typing import Any

from include.local_aws.api.errors import (
    AwsError,
    MissingTokenError,
    NoSuchResourceError,
    NotImplementedHereError,
    PaginationTokenError,
)
from include.local_aws.api.json_protocol import Environ, StartResponse, load_json, read_body, respond
from include.local_aws.api.kinds import PROCESSING, TRANSFORM
from include.local_aws.api.model import constraints, operation_model, service_model
from include.local_aws.api.quotas import limit_of, of_type_name
from include.local_aws.api.rendering import render
from include.local_aws.api.served import Asked
from include.local_aws.api.validation import parse_request
from include.local_aws.settings import Settings

SERVICE = "sagemaker"
DEFAULT_PAGE = 100
SCOPE = re.compile(r"Credential=[^/]+/\d{8}/([a-z0-9-]+)/servicequotas/aws4_request")

Answerer = Callable[[Asked, StartResponse], Iterable[bytes]]


class ServiceQuotasApplication:
    """What answers `X-Amz-Target: ServiceQuotasV20190624.*`; other services' quotas are `others`'."""

    def __init__(self, settings: Settings, others: Answerer) -> None:
        self._settings = settings
        self._others = others
        self._operations = {"ListServiceQuotas": self._list, "GetServiceQuota": self._get}

    def __call__(self, asked: Asked, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        environ, operation = asked.environ, asked.operation
        try:
            request = load_json(read_body(environ))
            if not isinstance(request, dict) or request.get("ServiceCode", SERVICE) != SERVICE:
                environ["wsgi.input"].seek(0)
                return self._others(asked, start_response)
            handler = self._operations.get(operation)
            if handler is None:
                raise NotImplementedHereError(
                    f"{operation} is not implemented by the embedded AWS for {SERVICE}; it has "
                    f"{', '.join(self._operations)}"
                )
            model = operation_model(operation, "service-quotas")
            parsed = parse_request(model.input_shape, request, operation)
            shape = service_model("service-quotas").shape_for(f"{operation}Response")
            answer = render(shape, handler(parsed, self._quotas(environ)))
        except AwsError as error:
            return respond(start_response, error.status, error.body())
        return respond(start_response, 200, answer)

    def _quotas(self, environ: Environ) -> list[dict[str, Any]]:
        scope = SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
        if scope is None and self._settings.require_signature:
            raise MissingTokenError("Missing Authentication Token")
        region = "us-east-1" if scope is None else scope[1]
        return [self._quota(region, name, code, value) for name, code, value in self._limits()]

    def _limits(self) -> Iterable[tuple[str, str, int]]:
        for kind in (PROCESSING, TRANSFORM):
            yield kind.across, kind.across_code, limit_of(self._settings, kind, kind.across)
            for instance_type in constraints(service_model().shape_for(kind.instance_types))["enum"]:
                name = of_type_name(kind, instance_type)
                # AWS's codes of these are not published as a list; here they follow from the name.
                code = f"L-{hashlib.sha256(name.encode()).hexdigest()[:8].upper()}"
                yield name, code, limit_of(self._settings, kind, name)

    def _quota(self, region: str, name: str, code: str, value: int) -> dict[str, Any]:
        return {
            "ServiceCode": SERVICE,
            "ServiceName": "Amazon SageMaker",
            "QuotaArn": f"arn:aws:servicequotas:{region}:{self._settings.account_id}:{SERVICE}/{code}",
            "QuotaCode": code,
            "QuotaName": name,
            "Value": float(value),
            "Unit": "None",
            "Adjustable": True,
            "GlobalQuota": False,
            "QuotaAppliedAtLevel": "ACCOUNT",
        }

    def _list(self, request: dict[str, Any], quotas: list[dict[str, Any]]) -> dict[str, Any]:
        code = request.get("QuotaCode")
        found = [quota for quota in quotas if code in (None, quota["QuotaCode"])]
        if request.get("QuotaAppliedAtLevel") == "RESOURCE":
            found = []
        token = request.get("NextToken", "0")
        if not token.isdecimal() or not 0 <= int(token) <= len(found):
            raise PaginationTokenError(f"NextToken {token!r} is not one that ListServiceQuotas returned")
        end = int(token) + request.get("MaxResults", DEFAULT_PAGE)
        return {"Quotas": found[int(token) : end], "NextToken": str(end) if end < len(found) else None}

    def _get(self, request: dict[str, Any], quotas: list[dict[str, Any]]) -> dict[str, Any]:
        for quota in quotas:
            if quota["QuotaCode"] == request["QuotaCode"]:
                return {"Quota": quota}
        raise NoSuchResourceError(f"The quota {request['QuotaCode']} of {SERVICE} does not exist.")
