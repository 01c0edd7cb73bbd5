"""Sensors that wait for a SageMaker job without holding a worker, and fail with its reason if it fails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook
from airflow.providers.amazon.aws.sensors.sagemaker import SageMakerProcessingSensor, SageMakerTransformSensor

from sagemaker_jobs.airflow_compat import AirflowException, AirflowSkipException
from sagemaker_jobs.aws import get_input_shape
from sagemaker_jobs.errors import RequestError
from sagemaker_jobs.job.compare import is_trial
from sagemaker_jobs.job.continuation import Resolved
from sagemaker_jobs.job.describe import Job, describe_job
from sagemaker_jobs.job.output_files import write_output_listing
from sagemaker_jobs.job.result import JobResult, build_job_result, collect_output_uris
from sagemaker_jobs.job.resume import list_resumed_jobs
from sagemaker_jobs.job.spec import JobSpec
from sagemaker_jobs.job.submit import list_earlier_attempts
from sagemaker_jobs.kinds import PROCESSING, TRANSFORM, JobKind
from sagemaker_jobs.links import build_links
from sagemaker_jobs.s3 import get_s3_client
from sagemaker_jobs.waiting.mixin import WAIT_TEMPLATE_FIELDS, JobWaitMixin, SubmitRetryState

if TYPE_CHECKING:
    from airflow.sdk import Context

#: Template fields beyond the provider's.
SENSOR_TEMPLATE_FIELDS = ("spec", *WAIT_TEMPLATE_FIELDS)


class JobSensor(JobWaitMixin):
    """Base of both sensors: always defers, returns a JobResult if the job completed, raises if not.

    Arguments beyond the provider's: those of ``JobWaitMixin``, and ``spec`` (the operator's XCom "spec": with it a
    new try adopts the live job or starts the next attempt). ``mode`` and ``poke_interval`` are accepted and ignored.
    With ``soft_fail`` or ``never_fail`` a failed job skips the task, as in the provider's sensors. With
    ``write_listing`` the output of an ended job is listed in an object next to it; the result has the listing's URI
    and digest.
    """

    overwrite_rtif_after_execution = True

    job_name: str
    soft_fail: bool
    never_fail: bool

    if TYPE_CHECKING:  # defined by the provider's sensor, the other base class

        def state_from_response(self, response: dict[str, Any]) -> str: ...

    def __init__(self, *, spec: Any = None, write_listing: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.spec = spec
        self.write_listing = write_listing

    def execute(self, context: Context) -> Any:
        """Find or submit the job, then wait for it."""
        self._ti = context["ti"]
        try:
            spec = self.get_spec(context)
            if spec is None:
                return self.wait_for_job(context, self._describe_named_job())
            return self.submit_or_adopt(context, spec)
        except AirflowSkipException:
            raise
        except AirflowException as error:
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(f"Skipped because of soft_fail or never_fail: {error}") from error
            raise

    def on_submitted(self, context: Context, job: Job, submit_retry: SubmitRetryState | None) -> Any:
        """Wait for the job, and show this attempt's name as ``job_name``."""
        self.job_name = job.name
        return self.wait_for_job(context, job, submit_retry)

    def on_completed(self, context: Context, job: Job) -> JobResult:
        """The job's result, with the attempts before it."""
        self.job_name = job.name
        spec = self.get_spec(context)
        earlier_jobs = [] if spec is None else list_earlier_attempts(self.hook, spec, job)
        resumed_jobs = [] if spec is None else list_resumed_jobs(spec, earlier_jobs, job)
        resolution = job.resolution or self._ask_resolution(spec, [*earlier_jobs, job])
        outputs = collect_output_uris(resumed_jobs, job)
        listing = None
        if self.write_listing and outputs:
            listing = write_output_listing(get_s3_client(self.hook), outputs)
        members = frozenset(get_input_shape(self.hook, self.job_kind.create_operation).members)
        return build_job_result(
            job,
            members,
            earlier_jobs=earlier_jobs,
            resumed_jobs=resumed_jobs,
            resolution=resolution,
            listing=listing,
            is_trial=spec is not None and is_trial(spec, job),
        )

    def _ask_resolution(self, spec: JobSpec | None, jobs: list[Job]) -> dict[str, Any] | None:
        """The continuation's resolution of a job that has completed."""
        if spec is None or self.continuation is None:
            return None
        decision = self.continuation.decide_next(self.hook, spec, jobs)
        return decision.details if isinstance(decision, Resolved) else None

    def get_spec(self, context: Context) -> JobSpec | None:  # noqa: ARG002 - part of the interface
        """The spec passed to the sensor."""
        if self.spec is None:
            return None
        spec = JobSpec.from_dict(self.spec)
        if spec.kind is not self.job_kind:
            wanted = self.job_kind.noun
            raise RequestError(f"spec is of a {spec.kind.noun}, but this sensor waits for a {wanted}.")
        return spec

    def non_terminal_states(self) -> set[str]:
        """InProgress and Stopping."""
        return set(SageMakerHook.non_terminal_states)

    def failed_states(self) -> set[str]:
        """Failed and Stopped: a stopped job has not done its work."""
        return {"Failed", "Stopped"}

    def get_failed_reason_from_response(self, response: dict[str, Any]) -> str:
        """AWS's reason; a stopped job has none."""
        return str(response.get("FailureReason") or f"the job is {self.state_from_response(response)}")

    def _describe_named_job(self) -> Job:
        self.current_job_name = self.job_name
        found = describe_job(self.hook, self.job_kind, self.job_name)
        if found is None:
            raise RequestError(
                f"AWS has no {self.job_kind.noun} {self.job_name!r} in {self.hook.conn_region_name}. Pass "
                "the final name from the submitting task's XCom, or its spec."
            )
        return found


class ProcessingJobSensor(JobSensor, SageMakerProcessingSensor):
    """Wait for a processing job; see ``JobSensor``."""

    job_kind: ClassVar[JobKind] = PROCESSING  # type: ignore[misc]  # fixed by the class, read by the mixin
    operator_extra_links = build_links(PROCESSING)
    template_fields: Sequence[str] = (*SageMakerProcessingSensor.template_fields, *SENSOR_TEMPLATE_FIELDS)


class TransformJobSensor(JobSensor, SageMakerTransformSensor):
    """Wait for a transform job; see ``JobSensor``."""

    job_kind: ClassVar[JobKind] = TRANSFORM  # type: ignore[misc]  # fixed by the class, read by the mixin
    operator_extra_links = build_links(TRANSFORM)
    template_fields: Sequence[str] = (*SageMakerTransformSensor.template_fields, *SENSOR_TEMPLATE_FIELDS)
