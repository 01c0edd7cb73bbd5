"""Settings of the runner: behaviour that AWS leaves undocumented, each with a default."""

from __future__ import annotations

from typing import Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)


class InstanceType(BaseModel):
    """What an instance of one type can do; each that is left out is this machine's, without a limit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    vcpus: PositiveInt | None = None
    speed: float = Field(default=1.0, gt=0, le=1)
    memory_mb: PositiveInt | None = None


class RunnerSettings(BaseModel):
    """Choices of the data plane. Where AWS documents a value, the default is
    that value unless the text says otherwise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    assignment: Literal["contiguous", "round_robin", "hash"] = "contiguous"
    """Which instance gets which input object, over the keys in sorted order: equal contiguous runs, dealt in turn,
    or a hash of the key (uneven for few objects, as some users saw on AWS)."""
    boot_delay_seconds: NonNegativeFloat = 0.0
    """Pause after the job's (billed) start before containers start: image pull on AWS."""
    ping_interval_seconds: PositiveFloat = 0.1
    """Pause between GET /ping attempts; AWS asks about once a second."""
    ping_attempt_seconds: PositiveFloat = 2.0
    """Time allowed for one GET /ping, and for the first GET /execution-parameters; each further one has twice as
    long."""
    ping_timeout_seconds: PositiveFloat = 1800.0
    """Time a model container has to answer /ping with 200 before the job fails; so long it is asked for
    /execution-parameters too, before the defaults hold."""
    transform_stop_grace_seconds: NonNegativeFloat = 30.0
    """Time between SIGTERM and SIGKILL for a model container."""
    processing_stop_grace_seconds: NonNegativeFloat = 120.0
    """Time between SIGTERM and SIGKILL for a processing container."""
    mb_bytes: PositiveInt = 1024 * 1024
    """Bytes of one MB in MaxPayloadInMB: 2^20 or 10^6."""
    pipeline_max_payload_mb: NonNegativeInt = 0
    """Limit of a request between the containers of a serial pipeline; real-time endpoints have 5. 0 is no limit."""
    retry_statuses_from: int = Field(default=500, ge=400)
    """HTTP status from which a failed invocation is tried again (up to InvocationsMaxRetries)."""
    retry_backoff_seconds: NonNegativeFloat = 0.1
    """Pause before the first retry of an invocation; doubled for each further one."""
    single_record_keeps_newline: bool = True
    """Whether a Line record sent alone keeps its line end, as SageMaker's local mode does."""
    assemble_line_always: bool = False
    """AssembleWith Line adds a newline even after a response that already ends in one."""
    slice_end: Literal["inclusive", "exclusive"] = "inclusive"
    """Whether n in a filter's $[m:n] belongs to the range: AWS's guide says so, the JSONPath it links to does not."""
    nested_keys: Literal["keep", "flatten"] = "keep"
    """Name of an output object below the folder that S3Uri names, with a slash at its end or without: keep the
    sub-folders, or its base name only. In AWS's recordings objects lie directly below the folder, and their
    outputs directly below S3OutputPath; none has sub-folders."""
    partial_prefix: Literal["last_slash", "prefix"] = "last_slash"
    """Name of an output object whose key goes on in the middle of a name after S3Uri (s3://b/in/a for in/ab.csv):
    what follows the last slash of S3Uri (ab.csv), or what follows S3Uri (b.csv). No recording of AWS shows one. An
    exact key gives its base name, as recorded."""
    skip_folder_keys: bool = True
    """Whether input keys ending in / are left out."""
    keep_finished_outputs_on_stop: bool = True
    """Whether objects finished before StopTransformJob keep their .out."""
    concurrency_across_objects: bool = True
    """Whether requests of several objects may be in flight at once on one instance."""
    upload_on_failure: bool = True
    """Whether EndOfJob outputs are uploaded when a processing job fails or is stopped."""
    stop_others_on_host_failure: bool = True
    """Whether a processing container that fails stops the containers on the other hosts."""
    collision_winner: Literal["last_host", "first_host"] = "last_host"
    """Which host's file is kept when two hosts of a processing job upload the same name."""
    continuous_upload_seconds: PositiveFloat = 1.0
    """Interval of uploads with S3UploadMode Continuous."""
    log_flush_seconds: PositiveFloat = 0.5
    """Interval of deliveries to CloudWatch Logs."""
    progress_seconds: NonNegativeFloat = 0.5
    """Minimum time between two progress events."""
    unpacked_archive_mb: PositiveInt = 1024
    """What the archive of a model or of a script may unpack to, in MiB: a few MB of gzip can hold gigabytes, which
    on AWS fill the instance's own volume."""
    instance_types: dict[str, InstanceType] = {}
    """Speed, vCPUs and memory of types, e.g. {'ml.m5.large': {'vcpus': 2, 'speed': 0.5, 'memory_mb': 8192}}; a type
    that is not listed is as fast as this machine and has no limit. See [Instance types](index.md#instance-types)."""
    out_of_memory: Literal["ClientError", "InternalServerError"] = "ClientError"
    """How a job fails whose containers needed more than memory_mb: with the text that names the memory, as most jobs do
    on AWS, or as an internal error, which users saw too."""
    metric_seconds: PositiveFloat = 60.0
    """Time between two data points of MemoryUtilization, and one at the job's end; AWS publishes one a minute."""
    port_first: int = Field(default=20000, ge=1024)
    """First port given to model containers."""
    port_last: int = Field(default=31999, le=65535)
    """Last port given to model containers; multi-model-server refuses 32768 and above."""
    isolation: Literal["auto", "bwrap", "unshare", "base_dir"] = "auto"
    """How a container gets its own /opt/ml, /tmp and /etc/hosts: bubblewrap, mount namespaces, or the variable
    SAGEMAKER_BASE_DIR, with which it has this machine's /etc/hosts."""

    @property
    def unpacked_archive_bytes(self) -> int:
        """`unpacked_archive_mb` in bytes."""
        return self.unpacked_archive_mb * 1024 * 1024
