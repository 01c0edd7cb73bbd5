"""How records become requests to the model: payload, concurrency, strategy, and who chose them and why."""

from __future__ import annotations

from typing import Literal

from include.scoring import sizing
from include.scoring.choices import Choices
from include.scoring.config import Pipeline
from include.scoring.messages import count
from include.scoring.params import RunParams
from include.scoring.sections import MAX_PAYLOAD_TIMES_CONCURRENCY, default_payload_mb


def payload_mb(pipeline: Pipeline, params: RunParams, say: Choices, *, serial: bool) -> int:
    """MaxPayloadInMB; `serial` says that the model has several containers."""
    typed, stated = params.transform_max_payload_mb, pipeline.transform.max_payload_mb
    chosen = typed or stated or default_payload_mb(serial=serial)
    if typed is not None:
        who, why = "trigger form", f"the trigger form said {typed}"
    elif stated is not None:
        who, why = "pipeline", "the pipeline says so"
    elif serial:
        who, why = "plan", "several containers can hand each other no more"
    else:
        who, why = "plan", "that is SageMaker's default"
    say.choose("transform.max_payload_mb", who, f"A request holds up to {chosen} MB, because {why}.")
    return chosen


def concurrency(pipeline: Pipeline, params: RunParams, instance_type: str, payload: int, say: Choices) -> int:
    """MaxConcurrentTransforms: requests in flight on each instance, at most 100 MB of them."""
    typed, stated = params.transform_max_concurrent, pipeline.transform.max_concurrent_transforms
    most = MAX_PAYLOAD_TIMES_CONCURRENCY // payload
    if typed is not None:
        chosen, who, why = typed, "trigger form", f"the trigger form said {typed}"
    elif stated is not None:
        chosen, who, why = min(stated, most), "pipeline", "the pipeline says so"
        if stated > most:
            why += f", lowered from {stated} because {stated} × {payload} MB is above SageMaker's 100 MB"
    else:
        chosen, who = sizing.concurrency(instance_type, payload, MAX_PAYLOAD_TIMES_CONCURRENCY), "plan"
        why = f"that is one per vCPU of {instance_type}, within SageMaker's 100 MB in flight"
    sentence = f"Each instance works on {count(chosen, 'request')} at a time, because {why}."
    say.choose("transform.max_concurrent_transforms", who, sentence)
    return chosen


def batch_strategy(
    pipeline: Pipeline, params: RunParams, say: Choices
) -> Literal["MultiRecord", "SingleRecord"]:
    """BatchStrategy."""
    typed = params.transform_batch_strategy
    chosen = typed or pipeline.transform.strategy
    who, why = ("trigger form", "the trigger form said so") if typed else ("pipeline", "the pipeline says so")
    held = "as many records as fit" if chosen == "MultiRecord" else "one record"
    say.choose("transform.batch_strategy", who, f"A request holds {held} ({chosen}), because {why}.")
    return chosen
