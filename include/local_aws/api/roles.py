"""Whether SageMaker may take on a role, asked of IAM when the setting check_roles is on."""

from __future__ import annotations

from typing import Any

from include.local_aws.api import catalogue
from include.local_aws.api.call import Call

PRINCIPAL = "sagemaker.amazonaws.com"


def require_role(call: Call, role_arn: str) -> None:
    """Raise ValidationError for a role that is not there or does not trust SageMaker."""
    if not call.services.settings.check_roles:
        return
    policy = call.services.aws.role_policy(role_arn, call.region)
    if policy is None or not _trusts_sagemaker(policy):
        raise catalogue.role_not_assumable(role_arn)


def _trusts_sagemaker(policy: dict[str, Any]) -> bool:
    statements = policy.get("Statement", [])
    for statement in statements if isinstance(statements, list) else [statements]:
        principals = statement.get("Principal", {})
        services = principals if isinstance(principals, str) else principals.get("Service", [])
        named = [services] if isinstance(services, str) else services
        if statement.get("Effect") == "Allow" and (PRINCIPAL in named or "*" in named):
            return True
    return False
