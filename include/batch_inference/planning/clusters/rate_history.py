"""Computes the rate of a stage, and its margin, from the history of measured runs.

History is a table, one row per stage and run. A rate is the median of the last runs of the same pipeline, stage,
instance type and model, so that one outlier does not move it; the spread of those runs is the margin.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ConfigDict

from batch_inference.config.sections.record_rules import FrozenModel
from batch_inference.config.sections.stages import Stage
from batch_inference.planning.clusters.sizing import count_vcpus

# How many of the last runs a rate is based on: enough for a median that ignores two outliers, few enough to follow a
# model that changes.
LAST_RUNS = 7
# Until runs are measured. Rates are bytes of input text per second and vCPU of tabular work; recorded runs took 60 to
# 120 s of billed time to pull the image and start the server, after 200 to 300 s of unbilled provisioning. That of
# preprocess is what JSON Lines and quoted CSV take (`make bench-preprocess`: 9 MB a second on a core, and a vCPU is
# about half of one): plain CSV is three times as fast, but a deadline missed costs more than an instance too many.
DEFAULT_BYTES_PER_SECOND_AND_VCPU: Mapping[str, float] = {
    "preprocess": 5e6,
    "transform": 0.5e6,
    "join": 20e6,
}
DEFAULT_START_SECONDS = 90.0
DEFAULT_PROVISIONING_SECONDS = 240.0
DEFAULT_MARGIN = 0.30
# Runs that agree to the second do not predict the load of tomorrow's hosts.
MIN_MARGIN = 0.05
MAX_MARGIN = 0.60


class HistoryRow(FrozenModel):
    """One stage of one run; unknown columns of a stored row are ignored.

    Times in seconds; `busy_seconds` is summed over instances, None when not known. `start_seconds` is the mean billed
    time before an instance worked, None when not known; `predicted_seconds` is what the run's own plan expected of
    `running_seconds`, None when it had only stated defaults to go by.

    `requests` are those that the server logged, None where it logs none. `max_concurrent_transforms`,
    `max_payload_mb` and `batch_strategy` are the transform's, None for other stages; `records_per_request` is a limit,
    None where as many as fit are sent. `peak_memory_share` is of the instance's memory, 0 to 1. A row with `is_trial`
    is of a trial, which cost `trial_extra_dollars` more than the same shards in the stage's own job.
    """

    model_config = ConfigDict(extra="ignore")

    pipeline: str
    run_id: str
    data_time: str
    stage: str
    instance_type: str
    instance_count: int
    model: str
    bytes: int
    records: int
    objects: int
    provisioning_seconds: float
    running_seconds: float
    busy_seconds: float | None
    start_seconds: float | None
    predicted_seconds: float | None
    dollars: float | None
    requests: int | None = None
    max_concurrent_transforms: int | None = None
    max_payload_mb: int | None = None
    batch_strategy: str | None = None
    records_per_request: float | None = None
    is_trial: bool = False
    peak_memory_share: float | None = None
    trial_extra_dollars: float | None = None

    @property
    def has_work_seconds(self) -> bool:
        """Whether it is known how much of the running time was work; not so for servers that log no requests."""
        return self._work_seconds > 0

    @property
    def bytes_per_second(self) -> float | None:
        """Bytes per second that one busy instance processed, or None when that is not known.

        Where it is unknown when work began, all running time counts as work: the rate is then too low, so that a plan
        takes too many instances rather than too few.
        """
        seconds = self._work_seconds or self.running_seconds * self.instance_count
        return self.bytes / seconds if seconds > 0 and self.bytes > 0 else None

    @property
    def _work_seconds(self) -> float:
        """Instance-seconds of work, 0 where they are not known."""
        if self.busy_seconds is not None:
            return max(0.0, self.busy_seconds)
        if self.start_seconds is None:
            return 0.0
        return max(0.0, self.running_seconds - self.start_seconds) * self.instance_count

    @property
    def prediction_error(self) -> float | None:
        """How far the run's plan was off, as a share of what was predicted: 0.2 is 20 % slower than predicted."""
        return self.running_seconds / self.predicted_seconds - 1 if self.predicted_seconds else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """The expected throughput of one instance of a type in a stage, and what that is based on.

    `margin` is a share: the true rate is expected between `bytes_per_second` times 1 - margin and 1 + margin, and
    start-up and provisioning likewise. `is_other_version` says that the runs were of other versions of the model's
    group, `includes_start` that their start-up counts as work.
    """

    bytes_per_second: float
    start_seconds: float
    provisioning_seconds: float
    margin: float
    runs: int
    last_prediction_error: float | None = None
    is_other_version: bool = False
    includes_start: bool = False

    def describe_basis(self, stage: str) -> str:
        """What the rate is based on, as part of a sentence."""
        speed = f"{self.bytes_per_second / 1e6:.3g} MB/s per instance"
        if not self.runs:
            return f"{stage} assumed at {speed} ± {self.margin:.0%}, as no run has been measured yet"
        error = self.last_prediction_error
        error_clause = "" if error is None else f"; the last plan was off by {error:+.0%}"
        runs_clause = "the last run" if self.runs == 1 else f"the median of the last {self.runs:,} runs"
        runs_clause += " of other versions of the model" if self.is_other_version else ""
        start_clause = ", start-up included, as nothing logged when work began" if self.includes_start else ""
        return f"{stage} measured at {speed} ± {self.margin:.0%}, {runs_clause}{start_clause}{error_clause}"


def compute_rate(history: Iterable[HistoryRow], *, stage: Stage, instance_type: str, model_key: str) -> Rate:
    """The rate of a stage on an instance type, from rows in any order.

    Only the transform runs the model: rows of other stages count whatever their model. A version without runs is taken
    to be as fast as the earlier versions of its group. Without a usable row the defaults apply, scaled by the vCPUs of
    the type.
    """
    candidates = sorted(
        (
            row
            for row in history
            if row.stage == stage and row.instance_type == instance_type and row.bytes_per_second is not None
        ),
        key=lambda row: row.data_time,
    )
    own = [row for row in candidates if stage != "transform" or row.model == model_key]
    group = parse_model_group(model_key)
    related = own or [row for row in candidates if group and parse_model_group(row.model) == group]
    rows = ([row for row in related if row.has_work_seconds] or related)[-LAST_RUNS:]
    if not rows:
        per_vcpu = DEFAULT_BYTES_PER_SECOND_AND_VCPU[stage]
        return Rate(
            bytes_per_second=per_vcpu * count_vcpus(instance_type),
            start_seconds=DEFAULT_START_SECONDS,
            provisioning_seconds=DEFAULT_PROVISIONING_SECONDS,
            margin=DEFAULT_MARGIN,
            runs=0,
        )
    speeds = [row.bytes_per_second for row in rows if row.bytes_per_second is not None]
    median_speed = statistics.median(speeds)
    starts = [row.start_seconds for row in rows if row.has_work_seconds and row.start_seconds is not None]
    return Rate(
        bytes_per_second=median_speed,
        start_seconds=statistics.median(starts) if starts else DEFAULT_START_SECONDS,
        provisioning_seconds=statistics.median(row.provisioning_seconds for row in rows),
        margin=_compute_margin(speeds, median_speed),
        runs=len(rows),
        last_prediction_error=rows[-1].prediction_error,
        is_other_version=not own,
        includes_start=not rows[-1].has_work_seconds,
    )


def parse_model_group(model_key: str) -> str | None:
    """The group in a model key `<group>/<version>`, or None; no other model key contains a slash."""
    group, slash, _ = model_key.rpartition("/")
    return group if slash else None


def _compute_margin(speeds: Sequence[float], median_speed: float) -> float:
    """Twice the robust standard deviation, between 5 % and 60 %; with fewer than three runs, as if none was known."""
    if len(speeds) < 3:
        return DEFAULT_MARGIN
    # 1.4826 times the median absolute deviation estimates the standard deviation of a normal distribution.
    spread = 1.4826 * statistics.median(abs(speed - median_speed) for speed in speeds) / median_speed
    return min(max(2 * spread, MIN_MARGIN), MAX_MARGIN)


def build_history_rows(report: Mapping[str, Any]) -> list[HistoryRow]:
    """The rows that a run adds to the history, from its `report.json`."""
    return [
        _build_history_row(report, stage)
        for stage in report["stages"]
        # A job that continued another did only a part of the work that the run's figures count, and the work of
        # instances of several types gives the rate of none.
        if not stage["earlier_billed_seconds"] and not stage.get("billed_by_type")
    ]


def _build_history_row(report: Mapping[str, Any], stage: Mapping[str, Any]) -> HistoryRow:
    is_preprocess, estimate = stage["stage"] == "preprocess", report["estimate"][stage["stage"]]
    of_run = {key: report[key] for key in ("pipeline", "run_id", "data_time")}
    work = {
        "model": report["model"]["key"],
        "bytes": report["input"]["text_bytes"],
        "records": report["records"]["in" if is_preprocess else "scored"],
        "objects": report["input"]["objects"] if is_preprocess else report["shards"],
        # What follows from defaults alone is no prediction.
        "predicted_seconds": estimate["seconds"] if estimate["runs"] else None,
    }
    return HistoryRow.model_validate({**stage, **of_run, **work})
