"""`select_trials`: set apart the shards on which the planned trials try other settings."""

from __future__ import annotations

import logging
from typing import Any

from batch_inference.common.formatting import format_count
from batch_inference.dag.task_functions import provide_run_context
from batch_inference.planning.clusters.exploration import pick_for_trials
from batch_inference.run.handoffs import PREPROCESS_JOB
from batch_inference.run.run_context import RunContext
from batch_inference.verification.host_manifests import ShardList

log = logging.getLogger(__name__)


@provide_run_context
def select_trials(run: RunContext, **_: Any) -> list[dict[str, Any]]:
    """The trials: `{"trial": n, "source": prefix, "shards": [name, …], "records": n, "bytes": n}` each.

    Their features are moved out of what the transform reads, so that each shard is scored once. Idempotent.
    """
    storage, trials = run.storage, run.plan.trials
    if not trials:
        return []
    paths = run.paths.build_job_paths(run.pull(*PREPROCESS_JOB)["job_name"])
    shards = ShardList.model_validate(storage.read_json(paths.shards)).shards
    there = set(storage.list_uris(paths.features))
    picked = pick_for_trials([shard.bytes for shard in shards], trials, run.plan.input.text_bytes)
    selected = []
    for number, positions in enumerate(picked):
        mine = [shards[position] for position in positions]
        if not mine:
            continue
        source = f"{paths.trials}{number}/"
        for shard in mine:
            features = f"{paths.root}{shard.features_key}"
            if features in there:
                storage.copy(features, f"{source}{features.rsplit('/', 1)[1]}")
                storage.delete([features])
        selected.append(
            {
                "trial": number,
                "source": source,
                "shards": [shard.name for shard in mine],
                "records": sum(shard.records for shard in mine),
                "bytes": sum(shard.bytes for shard in mine),
            }
        )
        log.info("%s %s on %s", source, trials[number].settings.describe(), format_count(len(mine), "shard"))
    return selected
