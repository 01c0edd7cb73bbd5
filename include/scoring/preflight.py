"""The last look before a run spends anything: the requests that its plan leads to, checked with its own numbers."""

from __future__ import annotations

from include.scoring.addresses import among_run_files, below_input
from include.scoring.config import Pipeline
from include.scoring.glance import LookedAt
from include.scoring.lint import Facts, lint_processing, lint_transform, refuse
from include.scoring.naming import job_base_name
from include.scoring.plan import Plan
from include.scoring.requests import (
    JOB_NAME,
    ProcessingValues,
    TransformValues,
    join_request,
    processing_request,
    transform_request,
)

FIRST_ATTEMPT = "-1"


def preflight(pipeline: Pipeline, plan: Plan, looked_at: LookedAt | None = None) -> None:
    """Raise LintError when SageMaker would refuse, or misread, a request of this plan; an empty plan has none.

    `looked_at` is what was seen of input that goes to the model as it is.
    """
    if plan.empty:
        return

    def name(step: str) -> str:
        return (
            job_base_name(pipeline=plan.pipeline, step=step, nonce=plan.nonce, task_id=step) + FIRST_ATTEMPT
        )

    problems = [
        problem
        for name_, uri in (("output", plan.output_uri), ("work", plan.run_prefix))
        if (problem := below_input(plan.input.uri, name_, uri)) is not None
    ]
    kept_too_short = among_run_files(pipeline.work, plan.pipeline, "output", plan.output_uri)
    problems += [kept_too_short] if kept_too_short else []
    if plan.preprocess is not None:
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
        problems += lint_processing(processing, Facts(input_bytes=plan.preprocess.host_bytes))
    if plan.join.job is not None:
        job = plan.join.job
        joining = join_request(
            pipeline,
            ProcessingValues(
                job_name=name("join"),
                run_prefix=plan.run_prefix,
                instance_type=job.instance_type,
                instance_count=job.instance_count,
                volume_size_gb=job.volume_size_gb,
                max_runtime_seconds=job.max_runtime_seconds,
            ),
            plan.paths.join_inputs(name("transform")),
        )
        problems += lint_processing(joining, Facts())
    transform = transform_request(
        pipeline,
        TransformValues(
            job_name=name("transform"),
            run_prefix=plan.run_prefix,
            model_name=name("model"),
            features_uri=(
                plan.paths.layout(plan.nonce).manifest(0)
                if plan.layout
                else plan.paths.job(JOB_NAME).features
            ),
            instance_type=plan.transform.instance_type,
            instance_count=plan.transform.instance_count,
            max_concurrent_transforms=plan.transform.max_concurrent_transforms,
            max_payload_mb=plan.transform.max_payload_mb,
            batch_strategy=plan.transform.batch_strategy,
        ),
    )
    facts = Facts(
        containers=max(1, plan.model.containers),
        # Preprocessing writes features without a line of names; without it somebody has to have looked.
        header=looked_at is not None and looked_at.header,
        largest_record_bytes=None if looked_at is None else looked_at.largest_record_bytes,
        input_uri=plan.input.uri if plan.layout else None,
    )
    refuse((*problems, *lint_transform(transform, facts)))
