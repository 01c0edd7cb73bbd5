"""`plan`: list the input, size this run's clusters, lay out the run's files in S3. It spends nothing."""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook
from botocore.exceptions import ClientError

import include
from include.orchestration import history, names
from include.orchestration.claims import Claim, check_not_over
from include.orchestration.direct.documents import write_listing
from include.orchestration.direct.looking import look_at
from include.orchestration.fingerprints import fingerprint, unchanged_since
from include.orchestration.gate import SkipRest
from include.orchestration.instance_types import check_instance_types
from include.orchestration.leftovers import clear_run
from include.orchestration.model_registry import resolve_model
from include.orchestration.output import read_published
from include.orchestration.pipelines import named
from include.orchestration.pools import check_pool
from include.orchestration.quotas import quotas_of
from include.orchestration.references import check_references
from include.orchestration.releasing import held_run
from include.orchestration.storage import Storage, is_gone
from include.scoring.config import Pipeline
from include.scoring.errors import HandoffError, PlanError
from include.scoring.glance import LookedAt
from include.scoring.input_manifest import noted_in_manifest
from include.scoring.input_selection import InputSelection, ListAgainError
from include.scoring.listing import noted_in_listing
from include.scoring.naming import RunPaths, new_nonce
from include.scoring.object_names import LONGEST_KEY
from include.scoring.params import RunParams, beyond_the_pipeline, check_conf, param_specs, read_params
from include.scoring.placeholders import resolve
from include.scoring.plan import Plan, S3Object, make_plan, xcom_of
from include.scoring.preflight import preflight
from include.scoring.requests import preprocess_config
from include.scoring.s3uri import as_folder

log = logging.getLogger(__name__)

#: States of a task that runs, or runs again, after `plan`.
TO_RUN = {None, "removed", "restarting", "up_for_retry"}

PACKAGE = Path(include.__file__ or "").parent


def plan(
    pipeline: str, *, params: Mapping[str, Any], dag_run: Any, ti: Any, **_: Any
) -> dict[str, Any] | SkipRest:
    """Decide everything about this run and write it down; the plan's figures, without the listing.

    Raises:
        ParamsError: unknown keys in the run's conf, or values that cannot be used.
        PoolError: the pipeline's pool is missing, or would limit nothing.
        ModelError: SageMaker has no such model, or no version of it that may score.
        OutputError: something else than this pipeline published where this run is to publish.
        OvertakenError: another process of this task has planned this run meanwhile.
        LintError: SageMaker would refuse, or misread, a request of this plan.
        ReleaseError: the run that is to be published is unknown, or not held.
        HandoffError: `plan` was cleared without what follows it.
        PlanError: the input is empty and the pipeline says that this is a failure, no cluster fits, statistics that
            a gate compares with cannot be read, or the input is what a run published and disagrees with its manifest.
    """
    config = named(pipeline)
    if ti.try_number > 1:
        check_cleared_with_plan(config, ti, dag_run)
    check_conf(dag_run.conf, param_specs(config))
    asked = beyond_the_pipeline(read_params(params), config)
    if asked.publish_run is not None:
        return release(config, asked.publish_run)
    moment, run_id = moment_of(dag_run), str(dag_run.run_id)
    input_uri = resolve(asked.input_uri or config.input.uri, moment=moment, run_id=run_id)
    output_uri = as_folder(resolve(asked.output_uri or config.output.uri, moment=moment, run_id=run_id))
    if ti.try_number > 1:
        stop_earlier_plan(config, ti.dag_id, dag_run.run_id)
    check_pool(config)
    storage = Storage(config.aws_conn_id, config.region)
    read_published(storage, output_uri, config.name)
    paths = RunPaths.of(work=config.work, pipeline=config.name, run_id=run_id)
    claim = Claim(ti, storage, paths.plan)
    model = resolve_model(config, asked)
    with tempfile.TemporaryDirectory(prefix="plan-") as folder:
        manifest, listing = Path(folder) / "input.manifest", Path(folder) / "input.listing"
        selection = InputSelection(
            input_uri,
            partial(read_control_file, storage),
            # Without preprocessing the objects' names are those of the transform's outputs.
            longest_name=LONGEST_KEY if config.preprocess else paths.longest_output_name(),
        )
        made, looked_at, kept = plan_listing(
            storage, config, selection, manifest, listing,
            partial(
                make_plan, config, asked,
                run_id=run_id, nonce=new_nonce(), moment=moment, input_uri=input_uri, output_uri=output_uri,
                quotas=quotas_of(config, asked), history=history.read(storage, config), now=datetime.now(UTC),
                model=model, region=storage.region, selection=selection,
                # Where the pipeline wants it, the chain has a task that asks.
                can_ask=config.goals.on_over_budget == "approve",
            ),
        )  # fmt: skip
        preflight(config, made, looked_at)
        check_instance_types(made)
        if not made.empty:
            check_references(storage, config)
        code = read_code()
        made = compared(storage, config, asked, made.model_copy(update={"code": digest_of(code)}))
        claim.write(paths.plan, json.dumps(made.document(config), indent=2, ensure_ascii=False) + "\n")
        check_not_over(ti)
        for sentence in made.sentences:
            log.info("%s", sentence)
        if made.empty:
            return SkipRest(made.for_xcom(), made.sentences[0])
        if made.dry_run:
            return SkipRest(made.for_xcom(), f"a dry run was asked for; the plan is at {paths.plan}")
        if made.unchanged_since is not None:
            return SkipRest(
                made.for_xcom(),
                f"input, model and pipeline are those of {made.unchanged_since}, and what it published at "
                f"{output_uri} is there",
            )
        storage.upload(listing, paths.input_listing)
        if made.layout is not None:
            write_listing(storage, paths.layout(made.nonce), kept)
        else:
            upload_code(storage, paths, code)
            storage.upload(manifest, paths.input_manifest)
            storage.write_json(paths.preprocess_config, preprocess_config(config, made))
    # Airflow takes what a late process hands on in place of what its successor has handed on.
    check_not_over(ti)
    return made.for_xcom()


def plan_listing(
    storage: Storage,
    config: Pipeline,
    selection: InputSelection,
    manifest: Path,
    listing: Path,
    plan_objects: Callable[[Iterable[S3Object]], Plan],
) -> tuple[Plan, LookedAt | None, list[S3Object]]:
    """List the input into two files, and plan with it: the plan, what was seen, and the objects that were kept.

    Objects are kept only without preprocessing, where they are looked at, cut and put into lists, and are few enough.
    """
    while True:
        listed: Iterable[S3Object] = selection.select(storage.objects(selection.uri))
        try:
            kept = list(listed) if config.preprocess is None else []
            looked_at = look_at(storage, config, selection.uri, kept) if config.preprocess is None else None
            with (
                manifest.open("w", encoding="utf-8") as names_file,
                listing.open("w", encoding="utf-8") as file,
            ):
                # The listing passes by and is kept nowhere but in these files.
                noted = noted_in_manifest(selection.uri, kept or listed, names_file)
                return plan_objects(noted_in_listing(noted, file)), looked_at, kept
        except ListAgainError as error:
            log.info("listing the input again: %s", error)


def read_control_file(storage: Storage, uri: str) -> bytes | None:
    """A control file of the input, or None when it is gone.

    Raises:
        PlanError: S3 does not let it be read.
    """
    try:
        return storage.read(uri)
    except ClientError as error:
        if is_gone(error):
            return None
        if error.response["Error"]["Code"] not in {"AccessDenied", "403"}:
            raise
        raise PlanError(
            f"{uri} cannot be read, and where a run was published it says which objects are: "
            f"{error.response['Error'].get('Message')}; allow Airflow's role s3:GetObject on it, or delete it"
        ) from error


def check_cleared_with_plan(config: Pipeline, ti: Any, dag_run: Any) -> None:
    """Refuse to plan a run anew while tasks that follow go on, or stay done, by the plan before.

    That one is handed on again, so that what goes on by it is not lost: no job is stopped, and none is paid for twice.

    Raises:
        HandoffError: tasks that follow were not cleared.
    """
    run_id = str(dag_run.run_id)
    states = ti.get_task_states(dag_id=ti.dag_id, run_ids=[run_id]).get(run_id, {})
    kept = sorted(task for task, state in states.items() if task != names.PLAN and state not in TO_RUN)
    if not kept:
        return
    planned_run = (dag_run.conf or {}).get("publish_run") or run_id
    paths = RunPaths.of(work=config.work, pipeline=config.name, run_id=planned_run)
    before = Storage(config.aws_conn_id, config.region).current(paths.plan)
    if before is not None:
        ti.xcom_push(key="return_value", value=xcom_of(before[0]))
    raise HandoffError(
        f"`{names.PLAN}` was cleared without {', '.join(f'`{task}` ({states[task]})' for task in kept[:5])}"
        f"{f' and {len(kept) - 5} more' if len(kept) > 5 else ''}, which belong to the plan before. "
        f"{'Nothing is planned' if before is None else 'That plan stands, and what goes on by it goes on'}; no job was "
        f"stopped. To plan the run anew, clear `{names.PLAN}` with all that follows it (Downstream)"
    )


def stop_earlier_plan(config: Pipeline, dag_id: str, run_id: str) -> None:
    """Stop what an earlier plan of this run, since cleared, has started: the new one gives its jobs other names."""
    hook = SageMakerHook(aws_conn_id=config.aws_conn_id, region_name=config.region)  # type: ignore[no-untyped-call]
    stopped = clear_run(hook, config.name, dag_id=dag_id, run_id=run_id, because="its run is planned anew")
    if stopped:
        log.info("of the plan before, stopped or deleted: %s", ", ".join(stopped))


def moment_of(dag_run: Any) -> datetime:
    """What `{date}` and `{hour}` mean in this run: its data interval's start, else its logical date, else `run_after`.

    A run triggered over REST with `logical_date: null` has neither of the first two.
    """
    moment: datetime = dag_run.data_interval_start or dag_run.logical_date or dag_run.run_after
    return moment


def upload_code(storage: Storage, paths: RunPaths, code: Mapping[str, bytes]) -> None:
    """Put the code that the processing job imports into the run's prefix, as the package it is."""
    for name, content in code.items():
        storage.write(f"{paths.code}{name}", content, content_type="text/x-python")


def read_code() -> dict[str, bytes]:
    """All that the jobs run, by path: a user's own functions lie beside the pipelines or below the jobs."""
    files = [
        PACKAGE / "__init__.py",
        *sorted((PACKAGE / "jobs").rglob("*.py")),
        *sorted((PACKAGE / "pipelines").glob("*.py")),
    ]
    return {path.relative_to(PACKAGE.parent).as_posix(): path.read_bytes() for path in files}


def digest_of(code: Mapping[str, bytes]) -> str:
    """Which code it is: SHA-256 over names and contents."""
    parts = [[name, hashlib.sha256(content).hexdigest()] for name, content in code.items()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def compared(storage: Storage, config: Pipeline, asked: RunParams, made: Plan) -> Plan:
    """Where it is asked for, the plan with what its rows follow from and the run that published just that, if any."""
    if made.empty or not (config.skip_unchanged or asked.skip_unchanged):
        return made
    now = fingerprint(storage, config, made)
    skip = config.skip_unchanged if asked.skip_unchanged is None else asked.skip_unchanged
    since = unchanged_since(storage, made, now) if skip else None
    return made.model_copy(update={"fingerprint": now, "unchanged_since": since})


def release(config: Pipeline, run_id: str) -> SkipRest:
    """Hand on the plan of a held run; only what publishes it is left to do."""
    held = held_run(Storage(config.aws_conn_id, config.region), config, run_id)
    return SkipRest(held, f"{run_id} has done it already, and is published now", until=names.CHECKS)
