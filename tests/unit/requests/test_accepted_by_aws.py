"""What a pipeline file and its plan let pass, AWS takes: random files, judged by AWS's shapes and known rules."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from batch_inference.aws.instance_types import check_instance_types
from batch_inference.common.errors import BatchInferenceError, RequestLintError
from batch_inference.config.pipeline import Pipeline
from batch_inference.planning.plan import Plan
from batch_inference.requests.sagemaker import build_config, build_planned_requests
from local_aws.api import errors
from local_aws.api.rules.model_rules import check_model_request
from local_aws.api.rules.processing_rules import check_processing_request
from local_aws.api.rules.transform_rules import check_transform_request
from local_aws.api.shapes.service_models import load_operation_model
from local_aws.api.shapes.support import refuse_unsupported
from local_aws.api.shapes.validation import parse_request
from local_aws.settings import Settings
from tests.unit.builders import WITHOUT_PREPROCESS, document, plan, run_preflight

TYPES = ["ml.m5.xlarge", "ml.m5d.large", "ml.c5.xlarge", "ml.t3.medium", "ml.p3.2xlarge", "ml.g5.xlarge"]
ACCEPTS = ["text/csv", "application/json", "application/jsonlines", "text/plain", ""]
FILTERS = [
    "$",
    "$[1:]",
    "$[0,2]",
    "$.features",
    "$['a','b']",
    "$[-2:]",
    "$.*",
    "$[1:3]",
    "$.a.['b']",
    "$..a",
    "$[",
    "$a",
]
FILTER_LIKE = st.text("$.[]'0123:,-ab*", max_size=10).map("${}".format)
KEY = "arn:aws:kms:us-east-1:123456789012:key/12345678-1234-1234-1234-123456789012"


def some(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """The value, or the default."""
    return st.none() | strategy


CHANGES = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["churn", "c", "a-b_c", "x" * 63, "0_"]),
        "transform.accept": some(st.sampled_from(ACCEPTS) | st.text(max_size=20)),
        "transform.assemble_with": some(st.sampled_from(["Line", "None"])),
        "transform.batch_strategy": some(st.sampled_from(["MultiRecord", "SingleRecord"])),
        "transform.max_payload_mb": some(st.integers(1, 100)),
        "transform.max_concurrent_transforms": some(st.integers(1, 100)),
        "transform.max_runtime_minutes": some(st.sampled_from([1, 10_080])),
        "transform.timeout_seconds": some(st.sampled_from([0, 1, 3600, 3601])),
        "transform.retries": some(st.integers(-1, 4)),
        "transform.environment": some(
            st.dictionaries(st.sampled_from(["A", "_b2", "1a", "a-b", "x" * 1025]), st.text(max_size=12), max_size=3)
        ),
        "transform.instance_type": some(st.sampled_from(TYPES)),
        "preprocess.instance_type": some(st.sampled_from(TYPES)),
        "preprocess.volume_size_gb": some(st.sampled_from([1, 16_384])),
        "preprocess.max_runtime_minutes": some(st.sampled_from([1, 10_080])),
        "security": some(
            st.fixed_dictionaries(
                {}, optional={"volume_kms_key": st.just(KEY), "output_kms_key": st.just(KEY)}
            )
        ),
        "model": st.sampled_from([
            {"name": "churn-model"},
            {"containers": [{"image": "registry/a:1", "model_data": "s3://models/a.tar.gz"}]},
            {"containers": [{"image": "registry/a:1", "environment": {"A": "b"}}, {"image": "registry/b:1"}]},
            {"group": "churn"},
        ]),
        "tags": some(st.dictionaries(st.text(max_size=12), st.text(max_size=12), max_size=3)),
    }
)  # fmt: skip
DIRECT = st.fixed_dictionaries(
    {
        "transform.input_filter": some(st.sampled_from(FILTERS) | FILTER_LIKE),
        "input.format": some(st.sampled_from(["csv", "jsonlines"])),
        "input.compression": some(st.sampled_from(["none", "gzip"])),
    }
)  # fmt: skip


def accepted(changes: dict[str, Any]) -> tuple[Pipeline, Plan] | None:
    """The pipeline of a file and its plan; None where we refuse it."""
    try:
        made = Pipeline.model_validate(document(changes))
        planned = plan([1_000_000] * 3, of=made)
        run_preflight(made, planned)
        check_instance_types(planned)
    except (ValidationError, BatchInferenceError):
        return None
    return made, planned


def check_requests(pipeline: Pipeline, planned: Plan) -> None:
    """Raise what AWS would answer to the requests of the plan."""
    values = {
        "model_name": "churn-model-1",
        "source_uri": f"{planned.run_prefix}churn-preprocess-1/features/"
        if planned.layout is None
        else planned.paths.build_layout_paths(planned.nonce).build_job_manifest_uri(0),
    }
    package = "arn:aws:sagemaker:us-east-1:123456789012:model-package/churn/1"
    model = planned.model.model_copy(update={"package": package})
    requests = build_planned_requests(pipeline, planned.model_copy(update={"model": model}))
    if planned.preprocess is not None:
        processing = build_config(requests, "preprocess", {"base_name": "churn-preprocess-1"})
        check_processing_request(parsed("CreateProcessingJob", processing))
    config = build_config(requests, "transform", {"base_name": "churn-transform-1", **values})
    check_transform_request(parsed("CreateTransformJob", config["Transform"]), Settings.model_validate({}))
    if "Model" in config:
        check_model_request(parsed("CreateModel", config["Model"]))


def parsed(operation: str, request: dict[str, Any]) -> dict[str, Any]:
    """The request as the embedded AWS reads it."""
    found = parse_request(load_operation_model(operation).input_shape, request, operation)
    refuse_unsupported(operation, found)
    return found


@settings(max_examples=150)
@given(CHANGES, some(DIRECT))
@example({"transform.accept": "text/csv\n"}, None)
def test_what_we_accept_aws_accepts(changes: dict[str, Any], direct: dict[str, Any] | None) -> None:
    """Nothing is paid for by then; it would be, once `preprocess` has run."""
    if direct is not None:
        changes = {key: value for key, value in changes.items() if not key.startswith("preprocess.")} | direct
    stated = {key: value for key, value in changes.items() if value is not None}
    found = accepted(stated if direct is None else {**stated, **WITHOUT_PREPROCESS})
    if found is not None:
        check_requests(*found)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "ContentType text/csv and Accept application/jsonlines"),
        (
            {"transform.accept": "application/jsonlines"},
            "ContentType text/csv and Accept application/jsonlines",
        ),
        ({"transform.accept": "text/csv", "transform.assemble_with": "None"}, "AssembleWith None"),
        (
            {"input.format": "jsonlines", "transform.accept": "text/csv"},
            "ContentType application/jsonlines and Accept",
        ),
    ],
)
def test_a_filter_between_types_that_sagemaker_does_not_filter_is_refused_with_the_file(
    changes: dict[str, Any], said: str
) -> None:
    """Also by the default of `accept`, where the input is CSV."""
    filtered = {**WITHOUT_PREPROCESS, "transform.input_filter": "$[1:]", **changes}
    with pytest.raises(ValidationError, match=f"transform.input_filter: found .*{said}"):
        Pipeline.model_validate(document(filtered))


def test_what_is_refused_here_is_refused_there() -> None:
    """The rule is AWS's, by the embedded one's own words; `$` filters nothing and is taken."""
    for chosen in ("$[1:]", "$"):
        changes = {**WITHOUT_PREPROCESS, "transform.input_filter": "$"}
        made, planned = accepted(changes) or pytest.fail("refused")
        bent = made.model_copy(
            update={"transform": made.transform.model_copy(update={"input_filter": chosen})}
        )
        if chosen == "$":
            check_requests(bent, planned)
            continue
        with pytest.raises(
            errors.ValidationError, match="DataProcessing needs the same ContentType and Accept"
        ):
            check_requests(bent, planned)
        with pytest.raises(
            RequestLintError, match=r"InputFilter \$\[1:\] with ContentType text/csv and Accept"
        ):
            run_preflight(bent, planned)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"preprocess.instance_type": "ml.m5d.large"},
            "preprocess.instance_type: found ml.m5d.large, which SageMaker",
        ),
        ({"transform.instance_type": "ml.t3.medium"}, "does not have for transform jobs"),
        (
            {"transform.instance_type": "ml.m5.3xlarge"},
            "found ml.m5.3xlarge, which .* transform jobs; did you mean",
        ),
    ],
)
def test_a_type_that_is_not_there_for_the_stage_is_refused_before_anything_is_paid(
    changes: dict[str, Any], said: str
) -> None:
    """Of the transform it was met once `preprocess` had run; a family that no list has is a new one."""
    with pytest.raises(RequestLintError, match=said):
        check_instance_types(plan(of=Pipeline.model_validate(document(changes))))
    check_instance_types(
        plan(of=Pipeline.model_validate(document({"transform.instance_type": "ml.m99.large"})))
    )
