"""Checks with IAM that SageMaker may assume a role, if the setting check_roles is on."""

from __future__ import annotations

from typing import Any

from local_aws.api.call import Call
from local_aws.api.rules import aws_messages

SAGEMAKER_PRINCIPAL = "sagemaker.amazonaws.com"


def require_role(call: Call, role_arn: str) -> None:
    """Raise ValidationError for a role that does not exist or does not trust SageMaker."""
    if not call.services.settings.check_roles:
        return
    policy = call.services.aws.get_role_trust_policy(role_arn, call.region)
    if policy is None or not _trusts_sagemaker(policy):
        raise aws_messages.role_not_assumable(role_arn)


def _trusts_sagemaker(policy: dict[str, Any]) -> bool:
    statements = policy.get("Statement", [])
    for statement in statements if isinstance(statements, list) else [statements]:
        principals = statement.get("Principal", {})
        services = principals if isinstance(principals, str) else principals.get("Service", [])
        service_names = [services] if isinstance(services, str) else services
        if statement.get("Effect") == "Allow" and (
            SAGEMAKER_PRINCIPAL in service_names or "*" in service_names
        ):
            return True
    return False
