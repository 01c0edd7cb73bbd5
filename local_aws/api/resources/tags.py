"""Parses the tags of requests and checks that the tagged resource exists."""

from __future__ import annotations

from typing import Any

from local_aws.api.call import Call
from local_aws.api.errors import ValidationError
from local_aws.api.resources.package_lookup import get_group, get_package
from local_aws.api.rules import aws_messages

MAX_TAGS = 50


def parse_tags(request: dict[str, Any]) -> dict[str, str]:
    """The request's Tags by key; raises ValidationError for a key given twice or a reserved one."""
    tags: dict[str, str] = {}
    for tag in request.get("Tags", []):
        key = tag["Key"]
        if key in tags:
            raise ValidationError(f"Duplicate tag key found: '{key}'. Give each key once")
        if key.lower().startswith("aws:"):
            raise ValidationError(f"Tag key '{key}' begins with 'aws:', which is reserved for AWS")
        tags[key] = tag["Value"]
    return tags


def get_tags(call: Call, arn: str) -> list[dict[str, str]]:
    """The tags of a resource as responses have them, sorted by key."""
    return [{"Key": key, "Value": value} for key, value in call.services.store.tags.get(arn).items()]


def require_resource(call: Call, arn: str) -> None:
    """Raise ValidationError unless the ARN names an existing resource of this account and region."""
    _, _, _, region, account, path = arn.split(":", 5)
    resource, _, name = path.partition("/")
    store = call.services.store
    if region != call.region or account != call.account_id:
        raise ValidationError(
            f"ResourceArn {arn} belongs to account {account} in {region}; this is {call.account_id} in {call.region}"
        )
    match resource:
        case "model":
            if not store.models.select("region = ? AND arn = ?", (region, arn)):
                raise aws_messages.missing_model(arn)
        case "model-package-group":
            get_group(call, arn)
        case "model-package":
            if get_package(call, arn).version is not None:
                raise ValidationError(
                    f"ResourceArn {arn}: a version has the tags of its model package group; ask for those"
                )
        case "transform-job" | "processing-job":
            kind = resource.removesuffix("-job")
            if not store.jobs.select("kind = ? AND region = ? AND arn = ?", (kind, region, arn)):
                raise aws_messages.missing_job(name)
        case other:
            raise ValidationError(
                f"ResourceArn {arn}: '{other}' is not implemented by the embedded AWS; tags can be put on "
                "transform-job, processing-job, model, model-package-group and model-package"
            )
