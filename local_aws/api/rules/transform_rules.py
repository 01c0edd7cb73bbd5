"""Validates CreateTransformJob beyond its shapes, by the request alone."""

from __future__ import annotations

from typing import Any

from local_aws.api.errors import ValidationError
from local_aws.api.rules.job_quotas import refuse_volume_key
from local_aws.api.shapes.validation import build_violations_error, format_violation
from local_aws.json_path import OPERATORS, PathSyntaxError, parse_path
from local_aws.settings import Settings

MAX_PAYLOAD_MB = 100
SPLIT_TYPES = ("Line", "RecordIO", "TFRecord")
DATA_PROCESSING_CONTENT_TYPES = ("text/csv", "application/json", "application/jsonlines")
BATCH_DATA_TYPES = ("S3Prefix", "ManifestFile")
DATA_PROCESSING_DEFAULTS = {"InputFilter": "$", "OutputFilter": "$", "JoinSource": "None"}


def check_transform_request(request: dict[str, Any], settings: Settings) -> None:
    """Raise ValidationError for the first combination that AWS refuses."""
    _check_limits(request, settings)
    resources = request["TransformResources"]
    refuse_volume_key(resources, resources["InstanceType"])
    data_type = request["TransformInput"]["DataSource"]["S3DataSource"]["S3DataType"]
    if data_type not in BATCH_DATA_TYPES:
        raise ValidationError(
            f"S3DataType {data_type} is not supported by batch transform; use {' or '.join(BATCH_DATA_TYPES)}"
        )
    _check_batching(request, settings)
    _check_data_processing(request)


def _check_limits(request: dict[str, Any], settings: Settings) -> None:
    instance_count = request["TransformResources"]["InstanceCount"]
    limits = (
        ("maxPayloadInMB", request.get("MaxPayloadInMB", 0), MAX_PAYLOAD_MB),
        ("transformResources.instanceCount", instance_count, settings.max_transform_instances),
    )
    clauses = [
        format_violation(value, path, f"Member must have value less than or equal to {limit}")
        for path, value, limit in limits
        if value > limit
    ]
    if clauses:
        raise build_violations_error(clauses)


def _check_batching(request: dict[str, Any], settings: Settings) -> None:
    split = request["TransformInput"].get("SplitType", "None")
    strategy = request.get("BatchStrategy")
    refused = {"MultiRecord": ("MultiRecord",), "both": ("MultiRecord", "SingleRecord"), "never": ()}
    if strategy in refused[settings.batch_strategy_needs_split] and split not in SPLIT_TYPES:
        raise ValidationError(
            f"BatchStrategy {strategy} needs SplitType {', '.join(SPLIT_TYPES[:-1])} or {SPLIT_TYPES[-1]}, "
            f"found {split}"
        )
    concurrency = request.get("MaxConcurrentTransforms", 0)
    payload = request.get("MaxPayloadInMB")
    if concurrency and payload is not None and concurrency * payload > MAX_PAYLOAD_MB:
        raise ValidationError(
            f"MaxConcurrentTransforms * MaxPayloadInMB must not exceed {MAX_PAYLOAD_MB} MB, found "
            f"{concurrency} * {payload} = {concurrency * payload}"
        )


def _check_data_processing(request: dict[str, Any]) -> None:
    processing = {**DATA_PROCESSING_DEFAULTS, **request.get("DataProcessing", {})}
    if processing == DATA_PROCESSING_DEFAULTS:
        return
    content_type = request["TransformInput"].get("ContentType")
    accept = request["TransformOutput"].get("Accept")
    if content_type != accept or content_type not in DATA_PROCESSING_CONTENT_TYPES:
        raise ValidationError(
            "DataProcessing needs the same ContentType and Accept, "
            f"one of {', '.join(DATA_PROCESSING_CONTENT_TYPES)}; "
            f"found ContentType {content_type} and Accept {accept}"
        )
    split = request["TransformInput"].get("SplitType", "None")
    assemble = request["TransformOutput"].get("AssembleWith", "None")
    if content_type == "text/csv" and (split, assemble) != ("Line", "Line"):
        raise ValidationError(
            "DataProcessing of text/csv needs SplitType Line and AssembleWith Line; found "
            f"SplitType {split} and AssembleWith {assemble}"
        )
    for name in ("InputFilter", "OutputFilter"):
        _check_filter(name, processing[name], content_type)


def _check_filter(name: str, path: str, content_type: str) -> None:
    """Raise ValidationError for a path that AWS refuses at once; `name` is InputFilter or OutputFilter.

    A list of ranges passes here: AWS, too, only fails it when the job runs.
    """
    try:
        parse_path(path)
    except PathSyntaxError as error:
        shown = ", ".join("'''" if operator == "'" else f"'{operator}'" for operator in OPERATORS)
        found = f'"{error.found}"' if error.found else "end"
        is_operator = error.found in OPERATORS or (error.found.isascii() and error.found.isalnum())
        raise ValidationError(
            f'Invalid {name}: "{path}". Unexpected {found} in JsonPath. '
            f'Supported operators for "{content_type}" are [{shown}]' + (f": {error}" if is_operator else "")
        ) from error
