"""Operators that submit a job once, whatever happens to the task that submits it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.providers.amazon.aws.operators.sagemaker import (
    SageMakerProcessingOperator,
    SageMakerTransformOperator,
)

from sagemaker_jobs.aws import call, client_of, json_safe
from sagemaker_jobs.casting import cast_to_shape
from sagemaker_jobs.ensuring import stop_attempts
from sagemaker_jobs.errors import RequestError
from sagemaker_jobs.jobs import Job, stop_job
from sagemaker_jobs.kinds import PROCESSING, TRANSFORM, JobKind
from sagemaker_jobs.links import links_of, persist_links
from sagemaker_jobs.output_files import read_output_files
from sagemaker_jobs.spec import JobSpec, safe_name
from sagemaker_jobs.waiting import KILLED, TEMPLATE_FIELDS, Trouble, WaitsForJob

if TYPE_CHECKING:
    from airflow.sdk import Context

SPEC_KEY = "spec"
REPLACED = "its task was cleared, and another job takes its place"
#: Template fields beyond the provider's and those of ``WaitsForJob``.
OWN_TEMPLATE_FIELDS = ("instance_types", "replaces")
_EXISTING = ("adopt", "timestamp", "fail")


class JobOperator(WaitsForJob):
    """What both operators share: cast, find or create the job, push its description and its spec, or wait.

    Arguments beyond the provider's: those of ``WaitsForJob``, and

    :param max_job_attempts: jobs that may be started by themselves.
    :param instance_types: types to try, in order, after one had no capacity; a text holds them parted by blanks
        (templated).
    :param resume: whether a failed transform is continued from the objects that have no output yet.
    :param replaces: base names, parted by blanks, of jobs whose place this one takes, such as those of before a clear
        of the task: what still runs of them is stopped first (templated).

    What differs from the provider's: the name in ``config`` is a base name, to which the attempt is appended;
    the text ``{job_name}`` anywhere in the request becomes the job's final name; ``wait_for_completion`` is
    off by default and always defers; ``action_if_job_exists`` knows "adopt", the default.
    ``check_if_*_exists`` and ``deferrable`` are accepted and make no difference, since looking first and
    deferring are what these operators do.
    """

    overwrite_rtif_after_execution = True

    config: dict[str, Any]
    wait_for_completion: bool
    _spec: JobSpec | None = None
    _killed: bool = False

    if TYPE_CHECKING:  # of the provider's operator beside which this mixin stands

        def expand_role(self) -> None: ...

        def _get_unique_job_name(
            self, proposed_name: str, fail_if_exists: bool, describe_func: Any
        ) -> str: ...

    def __init__(
        self,
        *,
        wait_for_completion: bool = False,
        check_interval: float = 30,
        max_attempts: int | None = None,
        max_ingestion_time: int | None = None,
        action_if_job_exists: str = "adopt",
        deferrable: bool = True,
        max_job_attempts: int = 3,
        instance_types: Sequence[str] | str = (),
        resume: bool = False,
        replaces: str = "",
        stop_after_seconds: float | str | None = None,
        max_poll_seconds: float | None = None,
        **kwargs: Any,
    ) -> None:
        _check_choice("action_if_job_exists", action_if_job_exists)
        if max_job_attempts < 1:
            raise RequestError(f"max_job_attempts is {max_job_attempts}; allowed is 1 or more.")
        if resume and self.job_kind is not TRANSFORM:
            raise RequestError(
                "resume is True; allowed for a transform only: its objects are done one by one."
            )
        # The provider's limits on waiting, where they are given: so many seconds, or so many looks of so many
        # seconds.
        looked = None if max_attempts is None else max_attempts * check_interval
        limits = (stop_after_seconds, max_ingestion_time, looked)
        super().__init__(
            wait_for_completion=wait_for_completion,
            check_interval=check_interval,
            max_attempts=max_attempts,
            max_ingestion_time=max_ingestion_time,
            deferrable=deferrable,
            stop_after_seconds=next((limit for limit in limits if limit is not None), None),
            max_poll_seconds=check_interval if max_poll_seconds is None else max_poll_seconds,
            **kwargs,
        )
        self.action_if_job_exists = action_if_job_exists
        self.max_job_attempts = max_job_attempts
        self.instance_types = instance_types
        self.resume = resume
        self.replaces = replaces

    def job_request(self) -> dict[str, Any]:
        """The part of ``config`` that is the Create…Job request."""
        raise NotImplementedError

    def model_request(self) -> dict[str, Any] | None:
        """The part of ``config`` that is a CreateModel request, if there is one."""
        return None

    def with_requests(self, job: dict[str, Any], model: dict[str, Any] | None) -> dict[str, Any]:
        """``config`` with these requests in it."""
        raise NotImplementedError

    def account_of(self, job: Job) -> dict[str, Any]:
        """The XCom of the provider's operator for this job, JSON-safe."""
        raise NotImplementedError

    def execute(self, context: Context) -> Any:
        """Submit the job, or find it submitted; then return its account, or wait for it."""
        self._ti = context["ti"]
        self.preprocess_config()
        spec = self._spec = self._make_spec()
        # Before the job exists, so that whoever has to find it again can.
        context["ti"].xcom_push(key=SPEC_KEY, value=spec.to_dict())
        for name in _words(self.replaces):
            stop_attempts(self.hook, dataclasses.replace(spec, base_name=name), because=REPLACED)
        return self.begin(context, spec)

    def take(self, context: Context, job: Job, trouble: Trouble | None) -> Any:
        """Show what was sent, and wait or return."""
        if self._killed:
            stop_job(self.hook, self.job_kind, job.name, because=KILLED)
        if self.wait_for_completion:
            return self.wait_for(context, job, trouble)
        persist_links(context, self, self.hook, self.job_kind, job.name)
        return self.job_done(context, job)

    def on_kill(self) -> None:
        """Stop what this task has submitted, or is about to, unless another try of it has taken over."""
        if self.job_in_hand is None:
            self._killed = self._is_job_unwanted()
        else:
            super().on_kill()

    def preprocess_config(self) -> None:
        """Cast numbers, run S3Operations, expand the role's name.

        Casting comes first: it costs nothing to fail.
        """
        model = self.model_request()
        self.config = self.with_requests(
            cast_to_shape(self.job_request(), self._input_shape(self.job_kind.operation)),
            None if model is None else cast_to_shape(model, self._input_shape("CreateModel"), "Model"),
        )
        if "S3Operations" in self.config:
            client_of(self.hook.s3_hook)
        self.hook.configure_s3_resources(self.config)
        self.expand_role()
        self.log.info("The request is:\n%s", json.dumps(json_safe(self.config), sort_keys=True, indent=2))

    def job_done(self, context: Context, job: Job) -> Any:
        """The provider's XCom, with the spec; the final request goes where "Rendered Templates" shows it."""
        spec = self.spec_in_use(context)
        shape = self._input_shape(self.job_kind.operation)
        sent = {key: json_safe(value) for key, value in job.description.items() if key in shape.members}
        self.config = self.with_requests(sent, None if spec is None else spec.model)
        return {**self.account_of(job), SPEC_KEY: None if spec is None else spec.to_dict()}

    def spec_in_use(self, context: Context) -> JobSpec | None:
        """The spec that this task pushed before it submitted; None if it did not get that far."""
        if self._spec is None:
            ti: Any = context["ti"]
            pushed = ti.xcom_pull(task_ids=ti.task_id, key=SPEC_KEY, map_indexes=ti.map_index)
            self._spec = None if pushed is None else JobSpec.from_dict(pushed)
        return self._spec

    def _make_spec(self) -> JobSpec:
        request, model = dict(self.job_request()), self.model_request()
        name_field = self.job_kind.name_field
        base_name = safe_name(request.get(name_field), name_field)
        if self.action_if_job_exists != "adopt":
            base_name = self._get_unique_job_name(
                f"{base_name}-1",
                self.action_if_job_exists == "fail",
                getattr(self.hook, self.job_kind.describe),
            ).removesuffix("-1")
        if model is not None:
            model = {**model, "ModelName": safe_name(model.get("ModelName"), "Model.ModelName", room=0)}
        return JobSpec(
            kind=self.job_kind,
            base_name=base_name,
            request=request,
            model=model,
            max_attempts=self.max_job_attempts,
            instance_types=tuple(_words(self.instance_types)),
            resume=self.resume,
        )

    def _input_shape(self, operation: str) -> Any:
        return client_of(self.hook).meta.service_model.operation_model(operation).input_shape


class ProcessingJobOperator(JobOperator, SageMakerProcessingOperator):
    """Submit a processing job once; see ``JobOperator`` for what differs from the provider's operator."""

    job_kind: ClassVar[JobKind] = PROCESSING  # type: ignore[misc]  # fixed by the class, read by the mixin
    operator_extra_links = links_of(PROCESSING)
    template_fields: Sequence[str] = (
        *SageMakerProcessingOperator.template_fields,
        *OWN_TEMPLATE_FIELDS,
        *TEMPLATE_FIELDS,
    )

    def preprocess_config(self) -> None:
        """As for both; output files can only be read of a job that was waited for."""
        if self.output_files_to_xcom and not self.wait_for_completion:
            raise RequestError(
                "output_files_to_xcom needs wait_for_completion=True: files are read afterwards."
            )
        super().preprocess_config()

    def job_request(self) -> dict[str, Any]:
        """All of ``config`` but the S3Operations."""
        return {key: value for key, value in self.config.items() if key != "S3Operations"}

    def with_requests(self, job: dict[str, Any], model: dict[str, Any] | None) -> dict[str, Any]:  # noqa: ARG002 - processing has no model
        """``config`` with this request."""
        return {**{key: self.config[key] for key in self.config.keys() & {"S3Operations"}}, **job}

    def account_of(self, job: Job) -> dict[str, Any]:
        """``{"Processing": description}`` and, after waiting, the output files that were asked for."""
        self.serialized_job = json_safe(job.description)
        wanted = self.output_files_to_xcom if self.wait_for_completion else None
        files = read_output_files(self.hook, job.description, wanted or [])
        return {"Processing": self.serialized_job, **files}

    def expand_role(self) -> None:
        """Expand RoleArn from a role's name, with this task's region and settings."""
        if "RoleArn" in self.config:
            self.config["RoleArn"] = _expand_role(self, self.config["RoleArn"])


class TransformJobOperator(JobOperator, SageMakerTransformOperator):
    """Submit a transform job once, and its model; see ``JobOperator`` for what differs from the provider's.

    ``config`` is the CreateTransformJob request, or ``{"Model": …, "Transform": …}`` to make a model for it.
    """

    job_kind: ClassVar[JobKind] = TRANSFORM  # type: ignore[misc]  # fixed by the class, read by the mixin
    operator_extra_links = links_of(TRANSFORM)  # type: ignore[assignment]  # the provider's has one link only
    template_fields: Sequence[str] = (
        *SageMakerTransformOperator.template_fields,
        *OWN_TEMPLATE_FIELDS,
        *TEMPLATE_FIELDS,
    )

    def __init__(self, *, action_if_model_exists: str = "adopt", **kwargs: Any) -> None:
        _check_choice("action_if_model_exists", action_if_model_exists)
        super().__init__(**kwargs)
        self.action_if_model_exists = action_if_model_exists

    def job_request(self) -> dict[str, Any]:
        """``config["Transform"]``, or all of ``config`` where it is flat."""
        request: dict[str, Any] = self.config.get("Transform", self.config)
        return {key: value for key, value in request.items() if key != "S3Operations"}

    def model_request(self) -> dict[str, Any] | None:
        """``config["Model"]``."""
        model: dict[str, Any] | None = self.config.get("Model")
        return model

    def with_requests(self, job: dict[str, Any], model: dict[str, Any] | None) -> dict[str, Any]:
        """``config`` in the shape it was given in."""
        rest = {key: self.config[key] for key in self.config.keys() & {"S3Operations"}}
        if "Transform" not in self.config:
            return {**rest, **job}
        return {**rest, **({} if model is None else {"Model": model}), "Transform": job}

    def account_of(self, job: Job) -> dict[str, Any]:
        """``{"Model": description, "Transform": description}``."""
        self.serialized_model = json_safe(
            call(client_of(self.hook).describe_model, {"ModelName": job.description["ModelName"]})
        )
        self.serialized_transform = json_safe(job.description)
        return {"Model": self.serialized_model, "Transform": self.serialized_transform}

    def expand_role(self) -> None:
        """Expand the model's ExecutionRoleArn from a role's name, with this task's region and settings."""
        model = self.model_request()
        if model is not None and "ExecutionRoleArn" in model:
            model["ExecutionRoleArn"] = _expand_role(self, model["ExecutionRoleArn"])


def _words(value: Sequence[str] | str) -> Sequence[str]:
    """Names in a list, or in a text parted by blanks, as a template gives them."""
    return value.split() if isinstance(value, str) else value


def _check_choice(argument: str, value: str) -> None:
    """Raise RequestError unless ``value`` says what to do about a job or model that exists."""
    if value not in _EXISTING:
        raise RequestError(f"{argument} is {value!r}; allowed are {', '.join(map(repr, _EXISTING))}.")


def _expand_role(operator: JobOperator, role: str) -> str:
    if "/" in role:
        return role
    hook = AwsBaseHook(
        operator.aws_conn_id,
        client_type="iam",
        region_name=operator.region_name,
        verify=operator.verify,
        config=operator.botocore_config,
    )
    return str(call(client_of(hook).get_role, {"RoleName": role})["Role"]["Arn"])
