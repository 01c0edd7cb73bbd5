"""Settings of the runner: behaviour that AWS leaves undocumented, each with a default."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class RunnerSettings(BaseModel):
    """Choices of the data plane. Where AWS documents a value, the default is
    that value unless the text says otherwise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    assignment: Literal["contiguous", "round_robin", "hash"] = Field(
        default="contiguous",
        description="Which instance gets which input object, over the keys in sorted order: equal contiguous runs, "
        "dealt in turn, or a hash of the key (uneven for few objects, as some users saw on AWS).",
    )
    boot_delay_seconds: float = Field(
        default=0.0,
        ge=0,
        description="Pause after the job's (billed) start before containers start: image pull on AWS.",
    )
    ping_interval_seconds: float = Field(
        default=0.1, gt=0, description="Pause between GET /ping attempts; AWS asks about once a second."
    )
    ping_attempt_seconds: float = Field(default=2.0, gt=0, description="Time allowed for one GET /ping.")
    ping_timeout_seconds: float = Field(
        default=1800.0,
        gt=0,
        description="Time a model container has to answer /ping with 200 before the job fails.",
    )
    transform_stop_grace_seconds: float = Field(
        default=30.0, ge=0, description="Time between SIGTERM and SIGKILL for a model container."
    )
    processing_stop_grace_seconds: float = Field(
        default=120.0, ge=0, description="Time between SIGTERM and SIGKILL for a processing container."
    )
    mb_bytes: int = Field(
        default=1024 * 1024, gt=0, description="Bytes of one MB in MaxPayloadInMB: 2^20 or 10^6."
    )
    pipeline_max_payload_mb: int = Field(
        default=0,
        ge=0,
        description="Limit of a request between the containers of a serial pipeline; real-time endpoints have 5. "
        "0 is no limit.",
    )
    retry_statuses_from: int = Field(
        default=500,
        ge=400,
        description="HTTP status from which a failed invocation is tried again (up to InvocationsMaxRetries).",
    )
    retry_backoff_seconds: float = Field(
        default=0.1,
        ge=0,
        description="Pause before the first retry of an invocation; doubled for each further one.",
    )
    single_record_keeps_newline: bool = Field(
        default=True,
        description="Whether a Line record sent alone keeps its line end, as SageMaker's local mode does.",
    )
    assemble_line_always: bool = Field(
        default=False,
        description="AssembleWith Line adds a newline even after a response that already ends in one.",
    )
    slice_end: Literal["inclusive", "exclusive"] = Field(
        default="inclusive",
        description="Whether n in a filter's $[m:n] belongs to the range: AWS's guide says so, "
        "the JSONPath it links to does not.",
    )
    nested_keys: Literal["keep", "flatten"] = Field(
        default="keep",
        description="Name of an output object below the folder that S3Uri names, with a slash at its end or without: "
        "keep the sub-folders, or its base name only. In AWS's recordings objects lie directly below the folder, and "
        "their outputs directly below S3OutputPath; none has sub-folders.",
    )
    partial_prefix: Literal["last_slash", "prefix"] = Field(
        default="last_slash",
        description="Name of an output object whose key goes on in the middle of a name after S3Uri (s3://b/in/a for "
        "in/ab.csv): what follows the last slash of S3Uri (ab.csv), or what follows S3Uri (b.csv). No recording of AWS "
        "shows one. An exact key gives its base name, as recorded.",
    )
    skip_folder_keys: bool = Field(default=True, description="Whether input keys ending in / are left out.")
    keep_finished_outputs_on_stop: bool = Field(
        default=True, description="Whether objects finished before StopTransformJob keep their .out."
    )
    concurrency_across_objects: bool = Field(
        default=True,
        description="Whether requests of several objects may be in flight at once on one instance.",
    )
    upload_on_failure: bool = Field(
        default=True,
        description="Whether EndOfJob outputs are uploaded when a processing job fails or is stopped.",
    )
    stop_others_on_host_failure: bool = Field(
        default=True,
        description="Whether a processing container that fails stops the containers on the other hosts.",
    )
    collision_winner: Literal["last_host", "first_host"] = Field(
        default="last_host",
        description="Which host's file is kept when two hosts of a processing job upload the same name.",
    )
    continuous_upload_seconds: float = Field(
        default=1.0,
        gt=0,
        description="Interval of uploads with S3UploadMode Continuous.",
    )
    log_flush_seconds: float = Field(
        default=0.5, gt=0, description="Interval of deliveries to CloudWatch Logs."
    )
    progress_seconds: float = Field(
        default=0.5, ge=0, description="Minimum time between two progress events."
    )
    unpacked_archive_mb: int = Field(
        default=1024,
        gt=0,
        description="What the archive of a model or of a script may unpack to, in MiB: a few MB of gzip can hold "
        "gigabytes, which on AWS fill the instance's own volume.",
    )
    port_first: int = Field(default=20000, ge=1024, description="First port given to model containers.")
    port_last: int = Field(
        default=31999,
        le=65535,
        description="Last port given to model containers; multi-model-server refuses 32768 and above.",
    )
    isolation: Literal["auto", "bwrap", "unshare", "base_dir"] = Field(
        default="auto",
        description="How a container gets its own /opt/ml and /tmp: bubblewrap, mount namespaces, or the "
        "variable SAGEMAKER_BASE_DIR.",
    )

    @property
    def unpacked_archive_bytes(self) -> int:
        """`unpacked_archive_mb` in bytes."""
        return self.unpacked_archive_mb * 1024 * 1024
