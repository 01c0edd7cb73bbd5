"""Serves Service Quotas for SageMaker: the instance quotas of the settings, as AWS shows an account's."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

from local_aws.api.errors import (
    AwsError,
    NoSuchQuotaError,
    NotImplementedHereError,
    QuotaPaginationTokenError,
)
from local_aws.api.json_protocol import (
    Environ,
    StartResponse,
    parse_json,
    read_body,
    read_region,
    respond_json,
)
from local_aws.api.resources.job_kinds import PROCESSING, TRANSFORM
from local_aws.api.rules.job_quotas import get_instance_quota_name, get_quota_limit
from local_aws.api.services import ServiceRequest
from local_aws.api.shapes.rendering import render
from local_aws.api.shapes.service_models import get_constraints, load_operation_model, load_service_model
from local_aws.api.shapes.validation import parse_request
from local_aws.settings import Settings

SERVICE = "sagemaker"
DEFAULT_MAX_RESULTS = 100

ServiceHandler = Callable[[ServiceRequest, StartResponse], Iterable[bytes]]


class ServiceQuotasApplication:
    """Handles `X-Amz-Target: ServiceQuotasV20190624.*`; `handle_other_service` handles the quotas of other services."""

    def __init__(self, settings: Settings, handle_other_service: ServiceHandler) -> None:
        self._settings = settings
        self._handle_other_service = handle_other_service
        self._operations = {"ListServiceQuotas": self._list, "GetServiceQuota": self._get}

    def __call__(self, service_request: ServiceRequest, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        environ, operation = service_request.environ, service_request.operation
        try:
            request = parse_json(read_body(environ))
            if not isinstance(request, dict) or request.get("ServiceCode", SERVICE) != SERVICE:
                environ["wsgi.input"].seek(0)
                return self._handle_other_service(service_request, start_response)
            handler = self._operations.get(operation)
            if handler is None:
                raise NotImplementedHereError(
                    f"{operation} is not implemented by the embedded AWS for {SERVICE}; it has "
                    f"{', '.join(self._operations)}"
                )
            model = load_operation_model(operation, "service-quotas")
            parsed = parse_request(model.input_shape, request, operation)
            shape = load_service_model("service-quotas").shape_for(f"{operation}Response")
            answer = render(shape, handler(parsed, self._quotas(environ)))
        except AwsError as error:
            return respond_json(start_response, error.status, error.to_body())
        return respond_json(start_response, 200, answer)

    def _quotas(self, environ: Environ) -> list[dict[str, Any]]:
        region = read_region(environ, "servicequotas", require_signature=self._settings.require_signature)
        return [self._quota(region, name, code, value) for name, code, value in self._limits()]

    def _limits(self) -> Iterable[tuple[str, str, int]]:
        for kind in (PROCESSING, TRANSFORM):
            limit = get_quota_limit(self._settings, kind, kind.total_quota_name)
            yield kind.total_quota_name, kind.total_quota_code, limit
            types = load_service_model().shape_for(f"{kind.member_prefix}InstanceType")
            for instance_type in get_constraints(types)["enum"]:
                name = get_instance_quota_name(kind, instance_type)
                # AWS's codes of these are not published as a list; here they follow from the name.
                code = f"L-{hashlib.sha256(name.encode()).hexdigest()[:8].upper()}"
                yield name, code, get_quota_limit(self._settings, kind, name)

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
            raise QuotaPaginationTokenError(f"NextToken {token!r} is not one that ListServiceQuotas returned")
        end = int(token) + request.get("MaxResults", DEFAULT_MAX_RESULTS)
        return {"Quotas": found[int(token) : end], "NextToken": str(end) if end < len(found) else None}

    def _get(self, request: dict[str, Any], quotas: list[dict[str, Any]]) -> dict[str, Any]:
        for quota in quotas:
            if quota["QuotaCode"] == request["QuotaCode"]:
                return {"Quota": quota}
        raise NoSuchQuotaError(f"The quota {request['QuotaCode']} of {SERVICE} does not exist.")
