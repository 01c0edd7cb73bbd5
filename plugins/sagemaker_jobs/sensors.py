"""Sensors that wait without holding a worker, fail when the job did, and say why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook
from airflow.providers.amazon.aws.sensors.sagemaker import (
    SageMakerProcessingSensor,
    SageMakerTransformSensor,
)
from airflow.sdk.exceptions import AirflowException, AirflowSkipException

from sagemaker_jobs.aws import client_of, sibling
from sagemaker_jobs.continuing import Settled
from sagemaker_jobs.ensuring import attempts_of
from sagemaker_jobs.errors import RequestError
from sagemaker_jobs.jobs import Job, describe_job
from sagemaker_jobs.kinds import PROCESSING, TRANSFORM, JobKind
from sagemaker_jobs.links import links_of
from sagemaker_jobs.output_listing import keep_output_listing
from sagemaker_jobs.result import JobResult, all_output_uris, job_result
from sagemaker_jobs.resuming import can_resume, chain_of
from sagemaker_jobs.spec import JobSpec
from sagemaker_jobs.waiting import TEMPLATE_FIELDS, Trouble, WaitsForJob

if TYPE_CHECKING:
    from airflow.sdk import Context


class JobSensor(WaitsForJob):
    """What both sensors share: always deferred, a JobResult if the job completed, an error if not.

    Arguments beyond the provider's: those of ``WaitsForJob``, and ``spec`` (what the operator pushed under the
    XCom key "spec": with it a fresh try adopts the live job or starts the next attempt). ``mode`` and
    ``poke_interval`` are accepted and make no difference. With ``soft_fail`` or ``never_fail`` a failed job skips
    the task, as in the provider's sensors. With ``keep_listing`` what the job wrote is listed when it has ended, in an
    object beside its output; the result says where, and has its digest.
    """

    overwrite_rtif_after_execution = True

    job_name: str
    soft_fail: bool
    never_fail: bool

    if TYPE_CHECKING:  # of the provider's sensor beside which this mixin stands

        def state_from_response(self, response: dict[str, Any]) -> str: ...

    def __init__(self, *, spec: Any = None, keep_listing: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.spec = spec
        self.keep_listing = keep_listing

    def execute(self, context: Context) -> Any:
        """Make sure of the job, then wait for it."""
        self._ti = context["ti"]
        try:
            spec = self.spec_in_use(context)
            if spec is None:
                return self.wait_for(context, self._named_job())
            return self.begin(context, spec)
        except AirflowSkipException:
            raise
        except AirflowException as error:
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(f"Skipping, as the task asks for: {error}") from error
            raise

    def take(self, context: Context, job: Job, trouble: Trouble | None) -> Any:
        """Wait for the job, under the name that this attempt has."""
        self.job_name = job.name
        return self.wait_for(context, job, trouble)

    def job_done(self, context: Context, job: Job) -> JobResult:
        """The job's account, with the attempts before it."""
        self.job_name = job.name
        spec, earlier = self.spec_in_use(context), []
        if spec is not None and job.attempt is not None and job.attempt > 1:
            earlier = [each for each in attempts_of(self.hook, spec) if (each.attempt or 0) < job.attempt]
        resumed = chain_of(spec, [*earlier, job])[:-1] if spec is not None and can_resume(spec) else []
        settled = job.settled or self._settled(spec, [*earlier, job])
        outputs = all_output_uris(resumed, job)
        listing = None
        if self.keep_listing and outputs:
            listing = keep_output_listing(client_of(sibling(S3Hook, self.hook)), outputs)
        shape = client_of(self.hook).meta.service_model.operation_model(self.job_kind.operation).input_shape
        return job_result(
            job,
            frozenset(shape.members),
            earlier=earlier,
            resumed=resumed,
            settled=settled,
            listing=listing,
        )

    def _settled(self, spec: JobSpec | None, jobs: list[Job]) -> dict[str, Any] | None:
        """What the continuation says of a job that has completed."""
        if spec is None or self.continuation is None:
            return None
        follows = self.continuation.after(self.hook, spec, jobs)
        return follows.account if isinstance(follows, Settled) else None

    def spec_in_use(self, context: Context) -> JobSpec | None:  # noqa: ARG002 - part of the interface
        """The spec that was handed in."""
        if self.spec is None:
            return None
        spec = JobSpec.from_dict(self.spec)
        if spec.kind is not self.job_kind:
            raise RequestError(
                f"spec is of a {spec.kind.noun}, but this sensor waits for a {self.job_kind.noun}."
            )
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

    def _named_job(self) -> Job:
        self.job_in_hand = self.job_name
        found = describe_job(self.hook, self.job_kind, self.job_name)
        if found is None:
            raise RequestError(
                f"AWS knows no {self.job_kind.noun} {self.job_name!r} in {self.hook.conn_region_name}. Pass "
                "the final name from the submitting task's XCom, or its spec."
            )
        return found


class ProcessingJobSensor(JobSensor, SageMakerProcessingSensor):
    """Wait for a processing job; see ``JobSensor``."""

    job_kind: ClassVar[JobKind] = PROCESSING  # type: ignore[misc]  # fixed by the class, read by the mixin
    operator_extra_links = links_of(PROCESSING)
    template_fields: Sequence[str] = (*SageMakerProcessingSensor.template_fields, "spec", *TEMPLATE_FIELDS)


class TransformJobSensor(JobSensor, SageMakerTransformSensor):
    """Wait for a transform job; see ``JobSensor``."""

    job_kind: ClassVar[JobKind] = TRANSFORM  # type: ignore[misc]  # fixed by the class, read by the mixin
    operator_extra_links = links_of(TRANSFORM)
    template_fields: Sequence[str] = (*SageMakerTransformSensor.template_fields, "spec", *TEMPLATE_FIELDS)
