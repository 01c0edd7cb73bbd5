"""The history of measured runs, from which rates are learned: a table with one row for each stage of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict

from batch_inference.config.sections.record_rules import FrozenModel

#: The settings of the transform's requests, which its history keeps.
REQUEST_SETTINGS = ("max_concurrent_transforms", "max_payload_mb", "batch_strategy")


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
        return self._busy_seconds > 0

    @property
    def work_seconds(self) -> float:
        """Instance-seconds of work.

        Where it is unknown when work began, all running time counts as work: the rate is then too low, so that a plan
        takes too many instances rather than too few.
        """
        return self._busy_seconds or self.running_seconds * self.instance_count

    @property
    def _busy_seconds(self) -> float:
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


def build_history_rows(report: Mapping[str, Any]) -> list[HistoryRow]:
    """The rows that a run adds to the history, from its `report.json`; those of its trials last."""
    rows = [
        _build_history_row(report, stage)
        for stage in report["stages"]
        # A job that continued another did only a part of the work that the run's figures count, and the work of
        # instances of several types gives the rate of none.
        if not stage["earlier_billed_seconds"] and not stage.get("billed_by_type")
    ]
    return [*rows, *(_build_trial_row(report, trial) for trial in report["trials"])]


def _build_history_row(report: Mapping[str, Any], stage: Mapping[str, Any]) -> HistoryRow:
    is_preprocess, estimate = stage["stage"] == "preprocess", report["estimate"][stage["stage"]]
    # What trials transformed is in their rows.
    tried = report["trials"] if stage["stage"] == "transform" else ()
    work = {
        "bytes": report["input"]["text_bytes"] - sum(trial["bytes"] for trial in tried),
        "records": report["records"]["in" if is_preprocess else "scored"]
        - sum(trial["records"] for trial in tried),
        "objects": report["input"]["objects"]
        if is_preprocess
        else report["shards"] - sum(trial["objects"] for trial in tried),
        # What follows from defaults alone is no prediction.
        "predicted_seconds": estimate["seconds"] if estimate["runs"] else None,
    }
    return HistoryRow.model_validate({**stage, **_list_run_fields(report), **work})


def _build_trial_row(report: Mapping[str, Any], trial: Mapping[str, Any]) -> HistoryRow:
    """The row of a trial: of one that did not complete it has what it cost, and no work.

    It has no settings where they cost nothing, such as those of a type without capacity: they may be tried again.
    """
    fields = {"is_trial": True, "predicted_seconds": None, "trial_extra_dollars": trial["extra_dollars"]}
    if not trial["completed"]:
        fields |= {"bytes": 0, "records": 0, "objects": 0, "busy_seconds": None, "start_seconds": None}
        fields |= {} if trial["was_billed"] else dict.fromkeys(REQUEST_SETTINGS)
    return HistoryRow.model_validate({**trial, **_list_run_fields(report), **fields})


def _list_run_fields(report: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{key: report[key] for key in ("pipeline", "run_id", "data_time")},
        "model": report["model"]["key"],
    }
