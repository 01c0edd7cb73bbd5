"""SPEC.json, the job that the control plane hands to the runner, as typed values."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from local_aws.runner.runner_settings import InstanceType, RunnerSettings

RunnerFaultKind = Literal["kill_container", "freeze_container", "lose_instance"]


class RunnerFault(BaseModel):
    """A fault to inject, as the control plane's `Fault`, of which these are the runner's fields.

    kill_container sends SIGKILL to a host's containers, freeze_container SIGSTOP; lose_instance takes the host away.
    """

    model_config = ConfigDict(frozen=True)

    kind: RunnerFaultKind
    host: str = "algo-1"
    after_objects: int | None = Field(default=None, ge=0)
    after_seconds: float | None = Field(default=None, ge=0)


class FaultSchedule:
    """Injected faults of a job; each happens once."""

    def __init__(self, faults: Sequence[RunnerFault]) -> None:
        self._waiting = list(faults)
        self._lock = threading.Lock()

    def pop_due_fault(
        self, host: str, *, objects_done: int | None, seconds_running: float
    ) -> RunnerFault | None:
        """Remove and return the next due fault of `host`; seconds count from the start of its containers."""
        with self._lock:
            for fault in self._waiting:
                if fault.host == host and _is_due(fault, objects_done, seconds_running):
                    self._waiting.remove(fault)
                    return fault
        return None


def _is_due(fault: RunnerFault, objects: int | None, seconds: float) -> bool:
    if fault.after_objects is not None:
        return objects is not None and objects >= fault.after_objects
    return seconds >= (fault.after_seconds or 0.0)


class RunnerSpec(BaseModel):
    """One job. `request` is the Create*Job request as sent, `containers` the model's ContainerDefinitions in order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["transform", "processing"]
    name: str
    arn: str
    region: str = "us-east-1"
    request: dict[str, Any]
    containers: list[dict[str, Any]] = Field(default_factory=list)
    network_isolation: bool = False
    s3_endpoint_url: str | None = None
    logs_endpoint_url: str | None = None
    settings: RunnerSettings = RunnerSettings()
    images_file: str | None = None
    faults: list[RunnerFault] = Field(default_factory=list)
    work_dir: Path

    @property
    def hosts(self) -> list[str]:
        """algo-1 … of the request's InstanceCount."""
        return [f"algo-{number}" for number in range(1, int(self._cluster["InstanceCount"]) + 1)]

    @property
    def instance_type(self) -> InstanceType | None:
        """What the settings say of the request's InstanceType, if anything."""
        return self.settings.instance_types.get(self._cluster.get("InstanceType", ""))

    @property
    def _cluster(self) -> dict[str, Any]:
        cluster: dict[str, Any] = (
            self.request["TransformResources"]
            if self.kind == "transform"
            else self.request["ProcessingResources"]["ClusterConfig"]
        )
        return cluster


def read_spec(path: Path) -> RunnerSpec:
    """Reads SPEC.json; raises pydantic.ValidationError naming each field that is wrong."""
    return RunnerSpec.model_validate_json(path.read_bytes())
