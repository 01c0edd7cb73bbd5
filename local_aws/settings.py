"""Defines and loads the settings of the embedded AWS; each undocumented behaviour of AWS is a setting."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    ValidationError,
)

from local_aws.runner.runner_settings import RunnerSettings

HOST_NAME_PATTERN = r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$"
ORIGIN_PATTERN = r"^https?://[^/\s@]+$"


class SettingsError(ValueError):
    """The settings file or a flag is wrong; the message names it and what is allowed."""


class Settings(BaseModel):
    """The control plane's settings, with the runner's below `runner`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    account_id: str = Field(default="123456789012", pattern=r"^\d{12}$")
    """Account in every ARN, here and in moto."""
    provisioning_seconds: NonNegativeFloat = 1.0
    """From CreationTime to TransformStartTime/ProcessingStartTime; not billed. AWS takes 200-300 s."""
    case_insensitive_names: bool = True
    """Two job or model names that differ only in case are the same name. Undocumented; ARNs are lower-cased, so
    they would clash."""
    transform_instances_quota: NonNegativeInt = 20
    """'Number of instances across all transform jobs' (L-60D2A6F0) of a region."""
    processing_instances_quota: NonNegativeInt = 20
    """'Number of instances across all processing jobs' (L-F311B08F) of a region."""
    default_instance_quota: NonNegativeInt = 20
    """'<type> for transform job usage' and '<type> for processing job usage' of every type not listed in
    instance_quotas. AWS's defaults are not published; new accounts often have 0."""
    instance_quotas: dict[str, int] = {}
    """Quotas by AWS's name, e.g. {'ml.m5.xlarge for transform job usage': 8}."""
    price_list: Literal["served", "denied"] = "served"
    """Whether GetProducts answers prices, or AccessDeniedException, as to a role without pricing:GetProducts."""
    price_list_file: str | None = None
    """A YAML file of the prices that GetProducts answers, in the form of local_aws/api/prices.yaml; none means that
    table, which has us-east-1 alone: other regions have no price."""
    quota_released: Literal["end", "stopping"] = "end"
    """When a stopped job's instances leave the quota: with Stopped, or already with Stopping. Undocumented."""
    capacity: dict[str, int] = {}
    """Number of instances that exist of a type, e.g. {'ml.p3.2xlarge': 0}; a job that asks for more than are free
    fails with CapacityError after provisioning. Types not listed are unlimited."""
    max_transform_instances: int = Field(default=100, ge=1)
    """Largest InstanceCount of a transform job: 100 in AWS's prose, not in its schema."""
    batch_strategy_needs_split: Literal["MultiRecord", "both", "never"] = "MultiRecord"
    """Which BatchStrategy is refused without a SplitType. The guide says both; AWS's own examples send
    SingleRecord without one."""
    stop_while_stopping: Literal["accept", "refuse"] = "accept"
    """StopTransformJob/StopProcessingJob on a job that is Stopping. Undocumented."""
    check_roles: bool = False
    """Refuse a role that IAM does not hold or that sagemaker.amazonaws.com may not assume. Off, because a laptop
    has no roles."""
    host_names: tuple[Annotated[str, Field(pattern=HOST_NAME_PATTERN)], ...] = ()
    """Names under which clients reach this server, in addition to loopback addresses and localhost, e.g.
    ["local-aws"]; names below them, for buckets, are included. A request for any other Host is refused."""
    allowed_origins: tuple[Annotated[str, Field(pattern=ORIGIN_PATTERN)], ...] = ()
    """Origins of browser pages that may send requests, e.g. ["http://localhost:3000"]; they may then read and
    write everything. Requests of all other pages are refused."""
    require_signature: bool = True
    """Refuse unsigned requests, as AWS does. Signatures themselves are not verified."""
    requests_per_second: PositiveFloat | None = None
    """Calls of one operation a second before ThrottlingException; bursts of up to request_burst are allowed. AWS's
    rates are not published; none by default."""
    request_burst: int = Field(default=70, ge=1)
    """Largest burst of calls when requests_per_second is set. About 70 were observed on AWS."""
    billing_minimum_seconds: NonNegativeFloat = 0.0
    """Minimum billed time of a job that started. Undocumented."""
    billing_granularity_seconds: PositiveFloat = 1.0
    """Billed time is rounded up to a multiple of this. Undocumented."""
    stop_timeout_seconds: PositiveFloat = 180.0
    """A runner that has not ended this long after Stop is killed, and the job is Stopped."""
    shutdown_grace_seconds: NonNegativeFloat = 3.0
    """How long runners may take to end when the server stops, before they are killed."""
    job_niceness: int = Field(default=5, ge=0, le=19)
    """Niceness of jobs relative to the server, so that they do not slow its API down; on AWS they run elsewhere."""
    s3_endpoint_url: str | None = None
    """Another S3 for jobs to use; none means the one behind this port. Its credentials are taken from the
    environment. Clients must name the same endpoint for S3."""
    images_file: str | None = None
    """A YAML file of image URI patterns and commands, added to the built-in images."""
    runner_command: tuple[str, ...] | None = None
    """Command that runs one job, given SPEC.json as its last argument; none means `python -m local_aws.runner`."""
    faults: tuple[dict[str, Any], ...] = ()
    """Faults armed at start, as POST /_local/faults takes them."""
    runner: RunnerSettings = RunnerSettings()
    """Settings of the runner, see below."""


def load_settings(
    path: Path | None = None, overrides_by_dotted_name: dict[str, Any] | None = None
) -> Settings:
    """Settings from a YAML file with `overrides_by_dotted_name` (YAML text or values) on top.

    Raises SettingsError naming file or flag, field, what was found and what is allowed.
    """
    data: dict[str, Any] = {}
    if path is not None:
        try:
            loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            raise SettingsError(f"{path}: cannot be read as YAML: {error}") from error
        if loaded is not None and not isinstance(loaded, dict):
            raise SettingsError(f"{path}: expected a mapping of settings, found {type(loaded).__name__}")
        data = loaded or {}
    for name, value in (overrides_by_dotted_name or {}).items():
        _set_dotted(data, name, value)
    try:
        return Settings.model_validate(data)
    except ValidationError as error:
        origin = str(path) if path else "settings"
        lines = [
            f"{origin}: {'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}, "
            f"found {problem['input']!r}"
            for problem in error.errors()
        ]
        raise SettingsError("\n".join(lines)) from error


def _set_dotted(data: dict[str, Any], name: str, value: Any) -> None:
    *parents, last = name.split(".")
    for parent in parents:
        data = data.setdefault(parent, {})
        if not isinstance(data, dict):
            raise SettingsError(f"--set {name}: '{parent}' is not a group of settings")
    data[last] = value
