"""Checks the requests of a plan, as they are sent, before the run spends anything."""

from __future__ import annotations

from collections.abc import Mapping

from batch_inference.config.pipeline import Pipeline
from batch_inference.config.prefix_overlaps import find_overlap_with_input, find_overlap_with_run_files
from batch_inference.planning.inputs.input_probe import ProbeResult
from batch_inference.planning.plan import Plan
from batch_inference.requests.lint import LintContext, lint_processing, lint_transform, raise_for_problems
from batch_inference.requests.sagemaker import Request


def check_requests(
    pipeline: Pipeline, plan: Plan, requests: Mapping[str, Request], probe_result: ProbeResult | None = None
) -> None:
    """Raise RequestLintError when SageMaker would reject or misread one of the plan's requests; an empty plan has none.

    `probe_result` is that of an input without preprocessing.
    """
    if not requests:
        return
    problems = [
        find_overlap_with_input(plan.input.uri, "output", plan.output_uri),
        find_overlap_with_input(plan.input.uri, "work", plan.run_prefix),
        find_overlap_with_run_files(pipeline.work, plan.pipeline, "output", plan.output_uri),
    ]
    if plan.preprocess is not None:
        problems += lint_processing(
            requests["preprocess"], LintContext(host_input_bytes=plan.preprocess.host_bytes)
        )
    if "join" in requests:
        problems += lint_processing(requests["join"], LintContext())
    context = LintContext(
        container_count=max(1, plan.model.containers),
        # Preprocessing writes features without a header line; without it, the input was probed.
        has_header=probe_result is not None and probe_result.has_header,
        largest_record_bytes=None if probe_result is None else probe_result.largest_record_bytes,
        input_uri=plan.input.uri if plan.layout else None,
    )
    problems += lint_transform(requests["transform"], context)
    raise_for_problems([problem for problem in problems if problem is not None])
