"""Checks the requests that a plan leads to, with the plan's numbers, before the run spends anything."""

from __future__ import annotations

from batch_inference.common.names import build_job_base_name
from batch_inference.config.pipeline import Pipeline
from batch_inference.config.prefix_overlaps import find_overlap_with_input, find_overlap_with_run_files
from batch_inference.planning.inputs.input_probe import ProbeResult
from batch_inference.planning.plan import Plan
from batch_inference.requests.lint import LintContext, lint_processing, lint_transform, raise_for_problems
from batch_inference.requests.sagemaker import (
    JOB_NAME_TOKEN,
    ProcessingValues,
    TransformValues,
    build_join_request,
    build_preprocess_request,
    build_transform_request,
)

FIRST_ATTEMPT_SUFFIX = "-1"


def run_preflight(pipeline: Pipeline, plan: Plan, probe_result: ProbeResult | None = None) -> None:
    """Raise LintError when SageMaker would reject or misread a request of this plan; an empty plan has no requests.

    `probe_result` is that of an input without preprocessing.
    """
    if plan.empty:
        return

    def name_job(step: str) -> str:
        return (
            build_job_base_name(pipeline=plan.pipeline, step=step, nonce=plan.nonce, task_id=step)
            + FIRST_ATTEMPT_SUFFIX
        )

    problems = [
        problem
        for location, uri in (("output", plan.output_uri), ("work", plan.run_prefix))
        if (problem := find_overlap_with_input(plan.input.uri, location, uri)) is not None
    ]
    retention_problem = find_overlap_with_run_files(pipeline.work, plan.pipeline, "output", plan.output_uri)
    problems += [retention_problem] if retention_problem else []
    if plan.preprocess is not None:
        preprocess_request = build_preprocess_request(
            pipeline,
            ProcessingValues(
                job_name=name_job("preprocess"),
                run_prefix=plan.run_prefix,
                instance_type=plan.preprocess.instance_type,
                instance_count=plan.preprocess.instance_count,
                volume_size_gb=plan.preprocess.volume_size_gb,
                max_runtime_seconds=plan.preprocess.max_runtime_seconds,
            ),
        )
        problems += lint_processing(
            preprocess_request, LintContext(host_input_bytes=plan.preprocess.host_bytes)
        )
    if plan.join.job is not None:
        job = plan.join.job
        join_job_request = build_join_request(
            pipeline,
            ProcessingValues(
                job_name=name_job("join"),
                run_prefix=plan.run_prefix,
                instance_type=job.instance_type,
                instance_count=job.instance_count,
                volume_size_gb=job.volume_size_gb,
                max_runtime_seconds=job.max_runtime_seconds,
            ),
            plan.paths.build_join_inputs_prefix(name_job("transform")),
        )
        problems += lint_processing(join_job_request, LintContext())
    transform_job_request = build_transform_request(
        pipeline,
        TransformValues(
            job_name=name_job("transform"),
            run_prefix=plan.run_prefix,
            model_name=name_job("model"),
            source_uri=(
                plan.paths.build_layout_paths(plan.nonce).build_job_manifest_uri(0)
                if plan.layout
                else plan.paths.build_job_paths(JOB_NAME_TOKEN).features
            ),
            instance_type=plan.transform.instance_type,
            instance_count=plan.transform.instance_count,
            max_concurrent_transforms=plan.transform.max_concurrent_transforms,
            max_payload_mb=plan.transform.max_payload_mb,
            batch_strategy=plan.transform.batch_strategy,
        ),
    )
    facts = LintContext(
        container_count=max(1, plan.model.containers),
        # Preprocessing writes features without a header line; without it, the input was probed.
        has_header=probe_result is not None and probe_result.has_header,
        largest_record_bytes=None if probe_result is None else probe_result.largest_record_bytes,
        input_uri=plan.input.uri if plan.layout else None,
    )
    raise_for_problems((*problems, *lint_transform(transform_job_request, facts)))
