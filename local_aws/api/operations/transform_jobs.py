"""Creates and describes transform jobs; creation checks what AWS checks synchronously."""

from __future__ import annotations

from typing import Any

from local_aws.api.call import Call
from local_aws.api.lookups import S3LookupError, split_s3_uri
from local_aws.api.operations.models import get_model
from local_aws.api.resources.job_kinds import TRANSFORM
from local_aws.api.resources.jobs import create_job, describe_job, refuse_duplicate
from local_aws.api.rules import aws_messages
from local_aws.api.rules.transform_rules import DATA_PROCESSING_DEFAULTS, check_transform_request
from local_aws.state.registry import Model

# Defaults that AWS fills in, as in recorded responses; other members stay absent.
TRANSFORM_INPUT_DEFAULTS = {"CompressionType": "None", "SplitType": "None"}
TRANSFORM_OUTPUT_DEFAULTS = {"AssembleWith": "None", "KmsKeyId": ""}


def create_transform_job(call: Call) -> dict[str, Any]:
    """Role, network isolation and containers come from the model at this moment."""
    request = call.request
    check_transform_request(request, call.services.settings)
    refuse_duplicate(call, TRANSFORM)
    model = get_model(call)
    if any("ModelDataSource" in container for container in model.containers):
        raise aws_messages.model_data_source_unsupported()
    _require_input(call, model)
    resources = request["TransformResources"]
    return create_job(
        call,
        TRANSFORM,
        [(resources["InstanceType"], resources["InstanceCount"])],
        containers=model.containers,
        network_isolation=bool(model.request.get("EnableNetworkIsolation")),
    )


def _require_input(call: Call, model: Model) -> None:
    uri = call.request["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"]
    message = None
    try:
        if call.services.aws.has_objects(uri, call.region):
            return
    except S3LookupError as error:
        message = str(error)
    role = model.request.get("ExecutionRoleArn", "")
    raise aws_messages.no_input_objects(uri, split_s3_uri(uri)[0], call.region, role, message)


def describe_transform_job(call: Call) -> dict[str, Any]:
    """The request with AWS's defaults, state and times."""
    job, answer = describe_job(call, TRANSFORM)
    return {
        **answer,
        "TransformInput": {**TRANSFORM_INPUT_DEFAULTS, **job.request["TransformInput"]},
        "TransformOutput": {**TRANSFORM_OUTPUT_DEFAULTS, **job.request["TransformOutput"]},
        "DataProcessing": {**DATA_PROCESSING_DEFAULTS, **job.request.get("DataProcessing", {})},
    }
