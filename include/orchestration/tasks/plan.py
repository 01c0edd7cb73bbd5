"""`plan`: list the input, size this run's clusters, lay out the run's files in S3. It spends nothing."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import include
from include.orchestration import history
from include.orchestration.direct.documents import write_listing
from include.orchestration.direct.looking import look_at
from include.orchestration.gate import SkipRest
from include.orchestration.model_registry import resolve_model
from include.orchestration.pipelines import named
from include.orchestration.pools import check_pool
from include.orchestration.quotas import quotas_of
from include.orchestration.storage import Storage
from include.scoring.input_manifest import noted_in_manifest
from include.scoring.naming import RunPaths, new_nonce
from include.scoring.params import beyond_the_pipeline, check_conf, param_specs, read_params
from include.scoring.placeholders import resolve
from include.scoring.plan import S3Object, make_plan
from include.scoring.preflight import preflight
from include.scoring.requests import preprocess_config

log = logging.getLogger(__name__)


def plan(pipeline: str, *, params: Mapping[str, Any], dag_run: Any, **_: Any) -> dict[str, Any] | SkipRest:
    """Decide everything about this run and write it down; the plan's figures, without the listing.

    Raises:
        ParamsError: unknown keys in the run's conf, or values that cannot be used.
        PoolError: the pipeline's pool is missing, or would limit nothing.
        ModelError: SageMaker has no such model, or no version of it that may score.
        LintError: SageMaker would refuse, or misread, a request of this plan.
        PlanError: the input is empty and the pipeline says that this is a failure, or no cluster fits.
    """
    config = named(pipeline)
    check_conf(dag_run.conf, param_specs(config))
    asked = beyond_the_pipeline(read_params(params), config)
    moment, run_id = moment_of(dag_run), str(dag_run.run_id)
    input_uri = resolve(asked.input_uri or config.input.uri, moment=moment, run_id=run_id)
    output_uri = resolve(asked.output_uri or config.output.uri, moment=moment, run_id=run_id)
    check_pool(config)
    storage = Storage(config.aws_conn_id, config.region)
    model = resolve_model(config)
    listed: Iterable[S3Object] = storage.objects(input_uri)
    # What is not preprocessed is looked at, cut and put into lists by its objects: these are few enough to be kept.
    kept = list(listed) if config.preprocess is None else []
    looked_at = look_at(storage, config, input_uri, kept) if config.preprocess is None else None
    with tempfile.TemporaryDirectory(prefix="plan-") as folder:
        manifest = Path(folder) / "input.manifest"
        with manifest.open("w", encoding="utf-8") as file:
            # The listing passes by and is kept nowhere but in this file.
            objects = noted_in_manifest(input_uri, kept or listed, file)
            made = make_plan(
                config, asked, objects,
                run_id=run_id, nonce=new_nonce(), moment=moment, input_uri=input_uri, output_uri=output_uri,
                quotas=quotas_of(config, asked), history=history.read(storage, config), now=datetime.now(UTC),
                model=model,
                # Where the pipeline wants it, the chain has a task that asks.
                can_ask=config.goals.on_over_budget == "approve",
            )  # fmt: skip
        preflight(config, made, looked_at)
        paths = RunPaths(made.run_prefix)
        storage.write(paths.plan, made.model_dump_json(indent=2) + "\n")
        for sentence in made.sentences:
            log.info("%s", sentence)
        if made.empty:
            return SkipRest(made.for_xcom(), f"{input_uri} holds no object")
        if made.dry_run:
            return SkipRest(made.for_xcom(), f"a dry run was asked for; the plan is at {paths.plan}")
        if made.layout is not None:
            write_listing(storage, paths.layout(made.nonce), kept)
            return made.for_xcom()
        upload_code(storage, paths)
        storage.upload(manifest, paths.input_manifest)
    storage.write_json(paths.preprocess_config, preprocess_config(config, made))
    return made.for_xcom()


def moment_of(dag_run: Any) -> datetime:
    """What `{date}` and `{hour}` mean in this run: its data interval's start, else its logical date, else `run_after`.

    A run triggered over REST with `logical_date: null` has neither of the first two.
    """
    moment: datetime = dag_run.data_interval_start or dag_run.logical_date or dag_run.run_after
    return moment


def upload_code(storage: Storage, paths: RunPaths) -> None:
    """Put the code that the processing job imports into the run's prefix, as the package it is.

    A user's own functions lie beside the pipelines or below the jobs.
    """
    package = Path(include.__file__ or "").parent
    files = [
        package / "__init__.py",
        *sorted((package / "jobs").rglob("*.py")),
        *sorted((package / "pipelines").glob("*.py")),
    ]
    storage.upload_tree(files, package.parent, paths.code)
