"""Injects faults on request: each has a name and strikes a limited number of times; none is armed by default."""

from __future__ import annotations

import difflib
import re
import threading
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from local_aws.api.shapes.service_models import load_operation_names

FaultKind = Literal[
    "throttle",
    "error",
    "credentials",
    "invisible",
    "drop",
    "withhold",
    "hold",
    "capacity",
    "s3_error",
    "s3_credentials",
    "s3_slow",
    "s3_hold",
    "kill_container",
    "freeze_container",
    "lose_instance",
]
S3_OPERATIONS = frozenset(
    {
        "GetObject",
        "HeadObject",
        "PutObject",
        "DeleteObject",
        "CopyObject",
        "ListObjects",
        "ListObjectsV2",
        "CreateMultipartUpload",
        "UploadPart",
        "CompleteMultipartUpload",
        "AbortMultipartUpload",
    }
)
RUNNER_KINDS = ("kill_container", "freeze_container", "lose_instance")
S3_KINDS = ("s3_error", "s3_credentials", "s3_slow", "s3_hold")
#: Operations that the fault "invisible" makes answer that an existing job or model does not exist.
DESCRIBE_OPERATIONS = frozenset({"DescribeTransformJob", "DescribeProcessingJob", "DescribeModel"})
HOLD_KINDS = ("hold", "s3_hold")


class FaultError(ValueError):
    """The fault is not valid; the message names the field and what is allowed."""


class Fault(BaseModel):
    """One armed fault; it disarms itself after `count` times."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(default_factory=lambda: uuid.uuid4().hex[:8], min_length=1, max_length=100)
    kind: FaultKind
    count: int = Field(1, ge=1, le=1_000_000, description="How often it strikes.")
    operation: str | None = Field(None, description="SageMaker or S3 operation it strikes; any, if left out.")
    status: Literal[403, 500, 502, 503, 504] = Field(
        500, description="HTTP status of error and s3_error; 403 (AccessDenied) of s3_error only."
    )
    job_name_contains: str | None = Field(
        None, description="Only jobs or requests with this in the job's name."
    )
    access_key: str | None = Field(None, description="Only requests that are signed with this access key.")
    key_contains: str | None = Field(
        None, description="Only S3 requests with this in the path; * stands for anything."
    )
    seconds: float = Field(1.0, ge=0, le=3600, description="Delay of s3_slow; the longest hold and s3_hold.")
    host: str = Field("algo-1", description="Host of kill_container, freeze_container and lose_instance.")
    after_objects: int | None = Field(
        None, ge=0, description="Strike after this many objects of the host (transform)."
    )
    after_seconds: float | None = Field(
        None, ge=0, description="Strike this long after the host's containers started."
    )

    @model_validator(mode="after")
    def _check_fields_of_kind(self) -> Fault:
        unused = sorted(self.model_fields_set - {"name", "kind", "count"} - FIELDS_BY_KIND[self.kind])
        if unused:
            allowed = ", ".join(sorted(FIELDS_BY_KIND[self.kind])) or "none"
            raise ValueError(f"{self.kind} takes no {', '.join(unused)}; its own fields are: {allowed}")
        if self.kind == "error" and self.status == 403:
            raise ValueError("error has no status 403; allowed are 500, 502, 503 and 504")
        operations = S3_OPERATIONS if self.kind in S3_KINDS else load_operation_names()
        if self.kind == "invisible":
            operations = DESCRIBE_OPERATIONS
        if self.operation is not None and self.operation not in operations:
            near = difflib.get_close_matches(self.operation, operations) or sorted(operations)[:9]
            raise ValueError(f"operation is {self.operation!r}, allowed are e.g. {', '.join(near)}")
        return self

    def to_dict(self) -> dict[str, Any]:
        """Name, kind, count and the fields that the kind uses."""
        return self.model_dump(include={"name", "kind", "count"} | FIELDS_BY_KIND[self.kind])


FIELDS_BY_KIND: dict[str, set[str]] = {
    "throttle": {"operation", "job_name_contains"},
    "error": {"operation", "status", "job_name_contains"},
    "credentials": {"operation", "access_key", "job_name_contains"},
    "invisible": {"operation", "job_name_contains"},
    "drop": {"operation", "job_name_contains"},
    "withhold": {"operation", "job_name_contains"},
    "hold": {"operation", "seconds", "job_name_contains"},
    "capacity": {"job_name_contains"},
    "s3_error": {"operation", "status", "key_contains"},
    "s3_credentials": {"operation", "access_key", "key_contains"},
    "s3_slow": {"operation", "seconds", "key_contains"},
    "s3_hold": {"operation", "seconds", "key_contains"},
    "kill_container": {"host", "after_objects", "after_seconds", "job_name_contains"},
    "freeze_container": {"host", "after_objects", "after_seconds", "job_name_contains"},
    "lose_instance": {"host", "after_objects", "after_seconds", "job_name_contains"},
}

SUMMARY_BY_KIND: dict[str, str] = {
    "throttle": "`ThrottlingException`: Rate exceeded; nothing is done",
    "error": "HTTP `status` (500, 502, 503 or 504); nothing is done",
    "credentials": "`ExpiredTokenException`, to requests signed with `access_key` only if it is given; nothing is done",
    "invisible": "`DescribeTransformJob`, `DescribeProcessingJob` or `DescribeModel` answers that there is no such job "
    "or model, as parts of AWS do for a while after its creation",
    "drop": "the connection is closed; nothing is done",
    "withhold": "the operation is carried out, its answer is not sent: the connection is closed",
    "hold": "the operation is carried out, its answer waits until the fault is disarmed, `seconds` at most",
    "capacity": "the next matching job fails with CapacityError after provisioning",
    "s3_error": "S3 answers `status`; 503 is SlowDown, 403 AccessDenied. Only the S3 behind this port",
    "s3_credentials": "S3 answers 400 `ExpiredToken`, to requests signed with `access_key` only if it is given. Only "
    "the S3 behind this port",
    "s3_slow": "S3 takes `seconds` longer. Only the S3 behind this port",
    "s3_hold": "S3 waits until the fault is disarmed, `seconds` at most. Only the S3 behind this port",
    "kill_container": "a container of the next matching job is killed on `host`",
    "freeze_container": "the containers of the next matching job hang on `host`: SIGSTOP, until they are killed",
    "lose_instance": "`host` of the next matching job is lost with all that runs on it",
}


@dataclass
class _Hold:
    """Requests that wait for a fault to be disarmed."""

    fault: Fault
    requests: int = 0
    released: threading.Event = field(default_factory=threading.Event)


class FaultInjector:
    """The armed faults of one server; a fault is matched and counted down in one step."""

    def __init__(self, faults: Iterable[dict[str, Any]] = ()) -> None:
        self._lock = threading.Lock()
        self._armed: dict[str, Fault] = {}
        self._struck: dict[str, int] = {}
        self._holding: dict[str, _Hold] = {}
        for data in faults:
            self.arm(data)

    def arm(self, data: object) -> dict[str, Any]:
        """Arm one fault and return it as JSON data. Raises FaultError; a fault of the same name is replaced."""
        try:
            fault = Fault.model_validate(data)
        except ValidationError as error:
            problems = [
                f"{'.'.join(str(part) for part in problem['loc']) or 'fault'}: {problem['msg']}"
                for problem in error.errors()
            ]
            raise FaultError("; ".join(problems)) from error
        with self._lock:
            self._armed[fault.name] = fault
            self._struck[fault.name] = 0
        return fault.to_dict()

    def disarm(self, name: str | None) -> int:
        """Disarm one fault, or all, and release the requests they hold; returns how many were disarmed."""
        with self._lock:
            active = {**self._armed, **{key: hold.fault for key, hold in self._holding.items()}}
            names = [active_name for active_name in active if name in (None, active_name)]
            for active_name in names:
                self._armed.pop(active_name, None)
                if active_name in self._holding:
                    self._holding[active_name].released.set()
            return len(names)

    def list_faults(self) -> list[dict[str, Any]]:
        """The faults that are armed or hold requests: how often they will still strike, have struck, and hold now."""
        with self._lock:
            active = {**{name: hold.fault for name, hold in self._holding.items()}, **self._armed}
            return [
                {
                    **fault.model_dump(),
                    "count": fault.count - self._struck[name],
                    "struck": self._struck[name],
                    "holding": self._holding[name].requests if name in self._holding else 0,
                }
                for name, fault in active.items()
            ]

    def wait_for_release(self, fault: Fault) -> None:
        """Block until a fault that was taken is disarmed, `fault.seconds` at most."""
        hold = self._holding[fault.name]
        hold.released.wait(fault.seconds)
        with self._lock:
            hold.requests -= 1
            if hold.requests == 0 and self._holding.get(fault.name) is hold:
                del self._holding[fault.name]

    def take_matching(
        self,
        kinds: Iterable[str],
        *,
        operation: str | None = None,
        job_name: str = "",
        s3_path: str = "",
        access_key: str = "",
    ) -> Fault | None:
        """The first armed fault of `kinds` that fits, counted down; None when there is none."""
        if not self._armed:
            return None
        with self._lock:
            for fault in list(self._armed.values()):
                if fault.kind in kinds and _matches(fault, operation, job_name, s3_path, access_key):
                    self._strike(fault)
                    return fault
        return None

    def take_runner_faults(self, job_name: str) -> list[dict[str, Any]]:
        """Faults that the runner of a new job is to carry out, as SPEC.json holds them."""
        taken = []
        with self._lock:
            for fault in list(self._armed.values()):
                if fault.kind in RUNNER_KINDS and _matches(fault, None, job_name, ""):
                    self._strike(fault)
                    fields = {"kind", "host", "after_objects", "after_seconds"}
                    taken.append(fault.model_dump(include=fields, exclude_none=True))
        return taken

    def _strike(self, fault: Fault) -> None:
        self._struck[fault.name] += 1
        if fault.kind in HOLD_KINDS:
            # Registered here, so that a disarm before the wait is not missed.
            self._holding.setdefault(fault.name, _Hold(fault)).requests += 1
        if self._struck[fault.name] >= fault.count:
            del self._armed[fault.name]


def parse_access_key(authorization: str) -> str:
    """The access key of a request, by its header; "" where it is not signed."""
    found = re.search(r"Credential=([^/]+)/", authorization)
    return found[1] if found else ""


def _matches(fault: Fault, operation: str | None, job_name: str, s3_path: str, access_key: str = "") -> bool:
    return (
        (fault.operation is None or fault.operation == operation)
        and (fault.kind != "invisible" or operation in DESCRIBE_OPERATIONS)
        and (fault.access_key is None or fault.access_key == access_key)
        and (fault.job_name_contains is None or fault.job_name_contains in job_name)
        and (fault.key_contains is None or fnmatchcase(s3_path, f"*{_escape_pattern(fault.key_contains)}*"))
    )


def _escape_pattern(text: str) -> str:
    """The text as an fnmatch pattern in which only * is a wildcard."""
    return text.replace("[", "[[]").replace("?", "[?]")
