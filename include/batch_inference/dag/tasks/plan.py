"""`plan_run`: list the input, size the run's clusters, and write the run's files to S3. Starts no job."""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from batch_inference.aws.account_quotas import read_quotas
from batch_inference.aws.instance_types import check_instance_types
from batch_inference.aws.model_registry import resolve_model
from batch_inference.aws.price_list import FoundPrices, find_prices, keep_prices
from batch_inference.aws.s3 import Storage, is_not_found
from batch_inference.aws.setup_checks import (
    check_buckets,
    check_resources,
    find_near_folder,
    raise_for_problems,
)
from batch_inference.common.error_collector import ErrorCollector
from batch_inference.common.errors import EmptyInputError, HandoffError, PlanError
from batch_inference.common.names import RunPaths, generate_nonce
from batch_inference.common.object_names import MAX_KEY_BYTES
from batch_inference.common.s3_uri import ensure_trailing_slash
from batch_inference.config.pipeline import Pipeline
from batch_inference.config.pipeline_files import get_pipelines_folder, load_pipeline_by_id
from batch_inference.config.placeholders import fill_placeholders
from batch_inference.config.run_params import (
    RunParams,
    build_param_specs,
    check_conf_keys,
    keep_overrides,
    read_params,
)
from batch_inference.config.schedule import resolve_due_time
from batch_inference.config.user_functions import list_function_files
from batch_inference.dag.data_time import find_data_time
from batch_inference.dag.janitor import clean_up_run
from batch_inference.dag.pools import check_pool
from batch_inference.dag.task_functions import SkipDownstream
from batch_inference.dag.templates import build_run_tags
from batch_inference.input_pieces.range_probe import ObjectChoice, probe_objects
from batch_inference.planning.clusters.cluster_choice import ClusterDecision, PlanningContext
from batch_inference.planning.inputs.input_listing import S3Object, tee_to_listing, tee_to_manifest
from batch_inference.planning.inputs.input_probe import ProbeResult
from batch_inference.planning.inputs.input_selection import InputSelection, ListAgainError
from batch_inference.planning.model_version import ModelPlan, plan_model_without_lookup
from batch_inference.planning.plan import Plan
from batch_inference.planning.plan_log import PlanLogEntry
from batch_inference.planning.planner import RunInfo, make_plan
from batch_inference.publishing.claims import DocumentClaim, check_task_active
from batch_inference.publishing.earlier_runs import check_pinned_statistics, read_held_plan
from batch_inference.publishing.fingerprints import compute_fingerprint, find_unchanged_run
from batch_inference.publishing.measured_rates import read_rate_history
from batch_inference.publishing.output import read_published
from batch_inference.requests.lint import check_requests
from batch_inference.requests.sagemaker import Request, build_planned_requests, build_preprocess_config
from batch_inference.run import task_ids
from batch_inference.run.lateness import read_run_after

log = logging.getLogger(__name__)

#: States of a task that will run, or run again, after `plan_run`.
RERUN_STATES = {None, "removed", "restarting", "up_for_retry"}

#: Modules of the jobs that are uploaded at a time.
UPLOAD_WORKERS = 8

PACKAGE_DIR = Path(__file__).resolve().parents[2]


def plan_run(
    pipeline: str,
    *,
    params: Mapping[str, Any],
    dag_run: Any,
    ti: Any,
    triggering_asset_events: Mapping[Any, Iterable[Any]] | None = None,
    **_: Any,
) -> dict[str, Any] | SkipDownstream:
    """Plan the run and write plan.json; returns the plan without the listing.

    `triggering_asset_events` are those that started the run: see `find_data_time`.

    Raises:
        ParamsError: unknown keys in the run's conf, or values that cannot be used.
        PoolError: the pipeline's pool is missing, or would limit nothing.
        ModelError: SageMaker has no such model, or no approved version of it.
        SetupError: AWS lacks what the jobs need, or several things are wrong at once.
        OutputConflictError: the manifest at the run's output is not this pipeline's.
        OvertakenError: another process of this task has planned this run since.
        RequestLintError: SageMaker would refuse, or misread, a request of this plan.
        RunNotHeldError: the run of `publish_run` is unknown, or not held.
        HandoffError: `plan_run` was cleared without its downstream tasks.
        PipelineError: the pipeline's file is wrong, or a file does not define one of its functions.
        PlanError: the input is empty and on_empty is 'fail', no cluster fits, the statistics that a gate compares with
            cannot be read, or the input is a published output that disagrees with its manifest.
    """
    config = load_pipeline_by_id(pipeline)
    if ti.try_number > 1:
        check_downstream_cleared(config, ti, dag_run)
    check_conf_keys(dag_run.conf, build_param_specs(config))
    run_params = keep_overrides(read_params(params), config)
    if run_params.publish_run is not None:
        return release_held_run(config, run_params.publish_run)
    if ti.try_number > 1:
        clean_up_earlier_plan(config, ti.dag_id, dag_run.run_id)
    check_pool(config)
    storage = Storage(config.aws_conn_id, config.region)
    data_time = find_data_time(dag_run, triggering_asset_events)
    run = build_run_info(config, run_params, data_time.time, str(dag_run.run_id), storage.region)
    paths = RunPaths.from_run_id(work=config.work, pipeline=config.name, run_id=run.run_id)
    setup = look_at_setup(storage, config, run_params, run)
    setup = replace(setup, sentences=(*data_time.sentences, *setup.sentences))
    prices = find_prices(storage, config, run_params, storage.region)
    keep_prices(storage, config, prices)
    claim = DocumentClaim(ti, storage, paths.plan)
    with tempfile.TemporaryDirectory(prefix="plan-") as folder:
        manifest, listing = Path(folder) / "input.manifest", Path(folder) / "input.listing"
        run_plan, requests = prepare_run(
            storage, config, run_params, run, setup, prices,
            dag_id=ti.dag_id, manifest=manifest, listing=listing,
        )  # fmt: skip
        code = read_code(config, get_pipelines_folder(pipeline))
        due = compute_due_time(config, run_params, dag_run)
        run_plan = run_plan.model_copy(update={"code_digest": digest_code(code), "due": due})
        run_plan = compare_with_published(storage, config, run_params, run_plan)
        document = run_plan.to_plan_json(config, requests)
        claim.write(paths.plan, json.dumps(document, indent=2, ensure_ascii=False) + "\n")
        check_task_active(ti)
        for sentence in run_plan.sentences:
            log.info("%s", sentence)
        if run_plan.empty:
            reason = next(entry.text for entry in run_plan.log if entry.field == "empty")
            return SkipDownstream(run_plan.to_xcom(), reason)
        if run_plan.dry_run:
            return SkipDownstream(run_plan.to_xcom(), f"a dry run was asked for; the plan is at {paths.plan}")
        if run_plan.unchanged_since is not None:
            return SkipDownstream(
                run_plan.to_xcom(),
                f"input, model and pipeline are those of {run_plan.unchanged_since}, and what it published at "
                f"{run.output_uri} is there",
            )
        storage.upload(listing, paths.input_listing)
        if run_plan.layout is None:
            upload_code(storage, paths, code)
            storage.upload(manifest, paths.input_manifest)
            storage.write_json(paths.preprocess_config, build_preprocess_config(config, run_plan))
    # The value of a late process would replace that of its successor in XCom.
    check_task_active(ti)
    return run_plan.to_xcom()


def build_run_info(
    config: Pipeline, run_params: RunParams, data_time: datetime, run_id: str, region: str
) -> RunInfo:
    """The run, with the placeholders of its URIs filled."""
    fill = partial(fill_placeholders, data_time=data_time, run_id=run_id)
    return RunInfo(
        run_id=run_id,
        nonce=generate_nonce(),
        data_time=data_time,
        input_uri=fill(run_params.input_uri or config.input.uri),
        output_uri=ensure_trailing_slash(fill(run_params.output_uri or config.output.uri)),
        region=region,
    )


@dataclass(frozen=True, slots=True)
class Setup:
    """What was found in AWS before planning: the model, sentences for the plan, and errors that are raised later."""

    model: ModelPlan
    sentences: tuple[str, ...]
    errors: ErrorCollector


def look_at_setup(storage: Storage, config: Pipeline, run_params: RunParams, run: RunInfo) -> Setup:
    """Look for the buckets, the model, its archives, the role and the wheels.

    Raises:
        SetupError: a bucket cannot be used, so that nothing can be planned.
    """
    errors, model = ErrorCollector(), plan_model_without_lookup(config)
    uris = {"input.uri": run.input_uri, "output.uri": run.output_uri, "work": config.work}
    buckets = check_buckets(storage, uris)
    with errors.collect():
        model = resolve_model(config, run_params)
    findings = [*buckets, *check_resources(storage, config, model)]
    with errors.collect():
        raise_for_problems(findings)
    if any(each.is_problem for each in buckets):
        errors.raise_all()
    return Setup(model, tuple(each.text for each in findings if not each.is_problem), errors)


def prepare_run(
    storage: Storage,
    config: Pipeline,
    run_params: RunParams,
    run: RunInfo,
    setup: Setup,
    prices: FoundPrices,
    *,
    dag_id: str,
    manifest: Path,
    listing: Path,
    on_decision: Callable[[ClusterDecision], object] | None = None,
) -> tuple[Plan, dict[str, Request]]:
    """Plan a run and check its input and requests: the plan, and the requests by stage. Nothing is written to S3.

    `manifest` and `listing` are the local files that get the objects of the input. `on_decision`: see `make_plan`.

    Raises: as `plan_run`; SetupError with all problems where there are several.
    """
    errors = setup.errors
    with errors.collect():
        read_published(storage, run.output_uri, config.name)
    context = PlanningContext(
        model=setup.model,
        prices=prices.prices,
        price_note=prices.note,
        quotas=read_quotas(config, run_params),
        history=read_rate_history(storage, config),
        now=datetime.now(UTC),
        # With on_over_budget: approve, the DAG has a task that asks.
        can_request_approval=config.goals.on_over_budget == "approve",
    )
    paths = RunPaths.from_run_id(work=config.work, pipeline=config.name, run_id=run.run_id)
    selection = InputSelection(
        run.input_uri,
        partial(read_control_file, storage),
        # Without preprocessing, the transform names its outputs like the objects.
        max_name_bytes=MAX_KEY_BYTES if config.preprocess else paths.compute_max_object_name_bytes(),
    )
    run_plan, looked_at = list_and_plan(
        storage, config, selection, manifest, listing,
        partial(
            make_plan, config, run_params, run=run, context=context, selection=selection, on_decision=on_decision
        ),
        errors,
    )  # fmt: skip
    requests = build_planned_requests(
        config, run_plan, tags=build_run_tags(dag_id, run.run_id, run_plan.model.key)
    )
    with errors.collect():
        check_requests(config, run_plan, requests, looked_at)
    with errors.collect():
        check_instance_types(run_plan)
    with errors.collect():
        if not run_plan.empty:
            check_pinned_statistics(storage, config)
    errors.raise_all()
    sentences = (*setup.sentences, *looked_at.sentences)
    seen = tuple(PlanLogEntry(text=sentence) for sentence in sentences)
    return run_plan.model_copy(update={"log": (*run_plan.log, *seen)}), requests


def list_and_plan(
    storage: Storage,
    config: Pipeline,
    selection: InputSelection,
    manifest: Path,
    listing: Path,
    plan_objects: Callable[[Iterable[S3Object]], Plan],
    errors: ErrorCollector,
) -> tuple[Plan, ProbeResult]:
    """List the input into two files and plan from the listing: the plan, and what samples of the input show.

    `errors` get what is wrong with the input; they are raised where there is no plan.
    """
    while True:
        choice = ObjectChoice(keeps_all=config.preprocess is None)
        listed: Iterable[S3Object] = choice.watch(selection.select(storage.list_objects(selection.uri)))
        run_plan, looked_at = None, ProbeResult()
        try:
            with (
                errors.collect(),
                manifest.open("w", encoding="utf-8") as names,
                listing.open("w", encoding="utf-8") as file,
            ):
                # The listing is streamed; only these files keep it.
                recorded = tee_to_manifest(selection.uri, listed, names)
                run_plan = say_what_is_near(
                    storage, selection.uri, plan_objects, tee_to_listing(recorded, file)
                )
        except ListAgainError as error:
            log.info("listing the input again: %s", error)
            continue
        with errors.collect():
            looked_at = probe_objects(storage, config, selection.uri, choice.objects)
        if run_plan is None:
            errors.raise_all()
            raise RuntimeError("planning ended without a plan and without an error")
        return run_plan, looked_at


def say_what_is_near(
    storage: Storage,
    uri: str,
    plan_objects: Callable[[Iterable[S3Object]], Plan],
    objects: Iterable[S3Object],
) -> Plan:
    """The plan of the objects; of an input without any, the folder of a similar name is part of what it says.

    Raises: as `plan_objects`; the EmptyInputError says it too.
    """
    try:
        run_plan = plan_objects(objects)
    except EmptyInputError as error:
        near = find_near_folder(storage, uri)
        raise EmptyInputError(f"{error}. {_say_near(near)}" if near else str(error)) from error
    near = find_near_folder(storage, uri) if run_plan.empty else None
    if near is None:
        return run_plan
    log = tuple(
        entry.model_copy(update={"text": f"{entry.text} {_say_near(near)}"})
        if entry.field == "empty"
        else entry
        for entry in run_plan.log
    )
    return run_plan.model_copy(update={"log": log})


def _say_near(folder: str) -> str:
    return f"A folder with a similar name exists: {folder}"


def read_control_file(storage: Storage, uri: str) -> bytes | None:
    """A control file of the input; None when it no longer exists.

    Raises:
        PlanError: S3 does not let it be read.
    """
    try:
        return storage.read(uri)
    except ClientError as error:
        if is_not_found(error):
            return None
        if error.response["Error"]["Code"] not in {"AccessDenied", "403"}:
            raise
        raise PlanError(
            f"{uri} cannot be read, but it lists the objects of a published input: "
            f"{error.response['Error'].get('Message')}; allow Airflow's role s3:GetObject on it, or delete it"
        ) from error


def check_downstream_cleared(config: Pipeline, ti: Any, dag_run: Any) -> None:
    """Refuse to plan a run again while downstream tasks still run, or have ended, under its earlier plan.

    The earlier plan becomes the task's value again, so those tasks continue: no job is stopped or paid for twice.

    Raises:
        HandoffError: downstream tasks were not cleared.
    """
    run_id = str(dag_run.run_id)
    states = ti.get_task_states(dag_id=ti.dag_id, run_ids=[run_id]).get(run_id, {})
    uncleared = sorted(
        (task for task, state in states.items() if task != task_ids.PLAN and state not in RERUN_STATES),
        key=task_ids.get_task_position,
    )
    if not uncleared:
        return
    planned_run = (dag_run.conf or {}).get("publish_run") or run_id
    paths = RunPaths.from_run_id(work=config.work, pipeline=config.name, run_id=planned_run)
    stored_plan = Storage(config.aws_conn_id, config.region).read_json_with_etag(paths.plan)
    if stored_plan is not None:
        ti.xcom_push(key="return_value", value=Plan.from_document(stored_plan[0], paths.plan).to_xcom())
    raise HandoffError(
        f"`{task_ids.PLAN}` was cleared without {', '.join(f'`{task}` ({states[task]})' for task in uncleared[:5])}"
        f"{f' and {len(uncleared) - 5} more' if len(uncleared) > 5 else ''}, which belong to the earlier plan. "
        f"{'Nothing is planned' if stored_plan is None else 'That plan stands, and its tasks continue'}; no job was "
        f"stopped. To plan the run again, clear `{task_ids.PLAN}` with all that follows it (Downstream)"
    )


def clean_up_earlier_plan(config: Pipeline, dag_id: str, run_id: str) -> None:
    """Stop the jobs of an earlier plan of this run: the jobs of the new plan have other names."""
    stopped = clean_up_run(
        config.name, aws_conn_id=config.aws_conn_id, region=config.region, dag_id=dag_id, run_id=run_id,
        reason="its run is planned again",
    )  # fmt: skip
    if stopped:
        log.info("stopped or deleted jobs and models of the earlier plan: %s", ", ".join(stopped))


def compute_due_time(config: Pipeline, run_params: RunParams, dag_run: Any) -> datetime | None:
    """When the run is late; None without a deadline."""
    deadline = config.goals.deadline if run_params.deadline is None else run_params.deadline
    if deadline is None:
        return None
    return resolve_due_time(deadline, run_after=read_run_after(str(dag_run.run_id)), now=datetime.now(UTC))


def upload_code(storage: Storage, paths: RunPaths, code: Mapping[str, bytes]) -> None:
    """Upload the code of the processing jobs to the run's prefix, with the folders of the package."""

    def upload(name: str) -> None:
        storage.write(f"{paths.code}{name}", code[name], content_type="text/x-python")

    with ThreadPoolExecutor(UPLOAD_WORKERS) as pool:
        for _ in pool.map(upload, code):
            pass  # raises what the upload raised


def read_code(config: Pipeline, folder: Path) -> dict[str, bytes]:
    """The code of the jobs, by path: our modules, and the files of the pipeline's own functions below `folder`.

    Raises:
        PipelineError: a file is gone, or does not define its function.
    """
    ours = [PACKAGE_DIR / "__init__.py", *sorted((PACKAGE_DIR / "jobs").rglob("*.py"))]
    files = {path.relative_to(PACKAGE_DIR.parent).as_posix(): path for path in ours}
    for module, file in list_function_files(config, folder).items():
        files[f"{module.replace('.', '/')}.py"] = file
    return {name: path.read_bytes() for name, path in files.items()}


def digest_code(code: Mapping[str, bytes]) -> str:
    """SHA-256 over the names and contents of the code."""
    parts = [[name, hashlib.sha256(content).hexdigest()] for name, content in code.items()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def compare_with_published(storage: Storage, config: Pipeline, run_params: RunParams, run_plan: Plan) -> Plan:
    """With `skip_unchanged`, the plan with its fingerprint and the run that published the same rows, if any."""
    if run_plan.empty or not (config.skip_unchanged or run_params.skip_unchanged):
        return run_plan
    now = compute_fingerprint(storage, config, run_plan)
    skip = config.skip_unchanged if run_params.skip_unchanged is None else run_params.skip_unchanged
    since = find_unchanged_run(storage, run_plan, now) if skip else None
    return run_plan.model_copy(update={"fingerprint": now, "unchanged_since": since})


def release_held_run(config: Pipeline, run_id: str) -> SkipDownstream:
    """Return the plan of a held run, and skip all tasks before the checks."""
    held = read_held_plan(Storage(config.aws_conn_id, config.region), config, run_id)
    return SkipDownstream(
        held.to_xcom(), f"{run_id} has done this work already, and is published now", until=task_ids.CHECKS
    )
