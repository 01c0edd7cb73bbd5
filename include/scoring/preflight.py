"""The last look before a run spends anything: the requests that its plan leads to, checked with its own numbers."""

from __future__ import annotations

from include.scoring.config import Pipeline
from include.scoring.lint import Facts, lint_processing, lint_transform, refuse
from include.scoring.naming import job_base_name
from include.scoring.plan import Plan
from include.scoring.requests import (
    JOB_NAME,
    ProcessingValues,
    TransformValues,
    processing_request,
    transform_request,
)

FIRST_ATTEMPT = "-1"


def preflight(pipeline: Pipeline, plan: Plan) -> None:
    """Raise LintError when SageMaker would refuse, or misread, a request of this plan; an empty plan has none."""
    if plan.empty:
        return

    def name(step: str) -> str:
        return (
            job_base_name(pipeline=plan.pipeline, step=step, nonce=plan.nonce, task_id=step) + FIRST_ATTEMPT
        )

    processing = processing_request(
        pipeline,
        ProcessingValues(
            job_name=name("preprocess"),
            run_prefix=plan.run_prefix,
            instance_type=plan.preprocess.instance_type,
            instance_count=plan.preprocess.instance_count,
            volume_size_gb=plan.preprocess.volume_size_gb,
            max_runtime_seconds=plan.preprocess.max_runtime_seconds,
        ),
    )
    transform = transform_request(
        pipeline,
        TransformValues(
            job_name=name("transform"),
            run_prefix=plan.run_prefix,
            model_name=name("model"),
            features_uri=plan.paths.job(JOB_NAME).features,
            instance_type=plan.transform.instance_type,
            instance_count=plan.transform.instance_count,
            max_concurrent_transforms=plan.transform.max_concurrent_transforms,
            max_payload_mb=plan.transform.max_payload_mb,
            batch_strategy=plan.transform.batch_strategy,
        ),
    )
    facts = Facts(
        containers=max(1, plan.model.containers),
        # Preprocessing writes features without a line of names.
        header=False,
        input_bytes=plan.preprocess.host_bytes,
    )
    refuse((*lint_processing(processing, facts), *lint_transform(transform, facts)))
