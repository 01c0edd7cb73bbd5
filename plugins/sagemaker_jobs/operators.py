"""Operators that submit a SageMaker job exactly once, even if the task is killed or retried."""

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

from sagemaker_jobs.aws import call_with_retries, get_client, get_input_shape, to_json_safe
from sagemaker_jobs.errors import RequestError
from sagemaker_jobs.job.casting import cast_to_shape
from sagemaker_jobs.job.describe import Job, stop_job
from sagemaker_jobs.job.output_files import read_output_files
from sagemaker_jobs.job.spec import JobSpec, to_safe_name
from sagemaker_jobs.job.submit import stop_attempts
from sagemaker_jobs.kinds import PROCESSING, TRANSFORM, JobKind
from sagemaker_jobs.links import build_links, persist_links
from sagemaker_jobs.waiting.mixin import TASK_KILLED, WAIT_TEMPLATE_FIELDS, JobWaitMixin, SubmitRetryState

if TYPE_CHECKING:
    from airflow.sdk import Context

SPEC_KEY = "spec"
JOB_REPLACED = "its task was cleared, and another job replaces it"
#: Template fields beyond the provider's.
OPERATOR_TEMPLATE_FIELDS = ("instance_types", "replaces", *WAIT_TEMPLATE_FIELDS)
_EXISTING_ACTIONS = ("adopt", "timestamp", "fail")


class JobOperator(JobWaitMixin):
    """Base of both operators: casts the config, finds or creates the job, pushes its description and spec, or waits.

    Arguments beyond the provider's: those of ``JobWaitMixin``, and

    :param max_job_attempts: the most jobs that may be started automatically.
    :param instance_types: instance types to try, in order, after one had no capacity; a list or a string separated by
        blanks (templated).
    :param resume: whether a failed transform is resumed with the objects that have no output yet.
    :param replaces: base names, separated by blanks, of jobs that this one replaces, such as those from before a clear
        of the task: those still running are stopped first (templated).

    Differences from the provider's: the name in ``config`` is a base name, to which the attempt is appended; the text
    ``{job_name}`` anywhere in the request becomes the job's final name; ``wait_for_completion`` is off by default and
    always defers; ``action_if_job_exists`` also accepts "adopt", the default. ``check_if_*_exists`` and ``deferrable``
    are accepted and ignored: these operators always look for the job first, and always defer.
    """

    overwrite_rtif_after_execution = True

    config: dict[str, Any]
    wait_for_completion: bool
    _spec: JobSpec | None = None
    _killed: bool = False

    if TYPE_CHECKING:  # defined by the provider's operator, the other base class

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
        max_runtime_seconds: float | str | None = None,
        max_poll_seconds: float | None = None,
        **kwargs: Any,
    ) -> None:
        _check_choice("action_if_job_exists", action_if_job_exists)
        if max_job_attempts < 1:
            raise RequestError(f"max_job_attempts is {max_job_attempts}; allowed is 1 or more.")
        if resume and self.job_kind is not TRANSFORM:
            allowed = "allowed for a transform only, whose objects are processed one by one"
            raise RequestError(f"resume is True; {allowed}.")
        # The provider's limits on waiting, if given: max_ingestion_time, or max_attempts times check_interval.
        attempts_seconds = None if max_attempts is None else max_attempts * check_interval
        limits = (max_runtime_seconds, max_ingestion_time, attempts_seconds)
        super().__init__(
            wait_for_completion=wait_for_completion,
            check_interval=check_interval,
            max_attempts=max_attempts,
            max_ingestion_time=max_ingestion_time,
            deferrable=deferrable,
            max_runtime_seconds=next((limit for limit in limits if limit is not None), None),
            max_poll_seconds=check_interval if max_poll_seconds is None else max_poll_seconds,
            **kwargs,
        )
        self.action_if_job_exists = action_if_job_exists
        self.max_job_attempts = max_job_attempts
        self.instance_types = instance_types
        self.resume = resume
        self.replaces = replaces

    def get_job_request(self) -> dict[str, Any]:
        """The Create…Job request in ``config``."""
        raise NotImplementedError

    def get_model_request(self) -> dict[str, Any] | None:
        """The CreateModel request in ``config``; None if there is none."""
        return None

    def build_config(
        self, job_request: dict[str, Any], model_request: dict[str, Any] | None
    ) -> dict[str, Any]:
        """A ``config`` with these requests."""
        raise NotImplementedError

    def build_xcom_value(self, job: Job) -> dict[str, Any]:
        """The value that the provider's operator returns for this job, JSON-safe."""
        raise NotImplementedError

    def execute(self, context: Context) -> Any:
        """Submit or adopt the job; then return its description, or wait for it."""
        self._ti = context["ti"]
        self.preprocess_config()
        spec = self._spec = self._make_spec()
        # Pushed before the job exists, so that a later try can find the job.
        context["ti"].xcom_push(key=SPEC_KEY, value=spec.to_dict())
        for name in _split_names(self.replaces):
            stop_attempts(self.hook, dataclasses.replace(spec, base_name=name), because=JOB_REPLACED)
        return self.submit_or_adopt(context, spec)

    def on_submitted(self, context: Context, job: Job, submit_retry: SubmitRetryState | None) -> Any:
        """Wait for the job, or return its description."""
        if self._killed:
            stop_job(self.hook, self.job_kind, job.name, because=TASK_KILLED)
        if self.wait_for_completion:
            return self.wait_for_job(context, job, submit_retry)
        persist_links(context, self, self.hook, self.job_kind, job.name)
        return self.on_completed(context, job)

    def on_kill(self) -> None:
        """Stop the job that this task has submitted or is submitting, unless another try has taken over."""
        if self.current_job_name is None:
            self._killed = self._is_job_unwanted()
        else:
            super().on_kill()

    def preprocess_config(self) -> None:
        """Cast numbers, run S3Operations, expand the role's name.

        Casting comes first: a failure there has no side effects.
        """
        job_shape = get_input_shape(self.hook, self.job_kind.create_operation)
        job, model = cast_to_shape(self.get_job_request(), job_shape), self.get_model_request()
        if model is not None:
            model = cast_to_shape(model, get_input_shape(self.hook, "CreateModel"), "Model")
        self.config = self.build_config(job, model)
        if "S3Operations" in self.config:
            get_client(self.hook.s3_hook)
        self.hook.configure_s3_resources(self.config)
        self.expand_role()
        self.log.info("The request is:\n%s", json.dumps(to_json_safe(self.config), sort_keys=True, indent=2))

    def on_completed(self, context: Context, job: Job) -> Any:
        """The provider's return value plus the spec; also puts the final request into Rendered Templates."""
        spec = self.get_spec(context)
        shape = get_input_shape(self.hook, self.job_kind.create_operation)
        sent = {key: to_json_safe(value) for key, value in job.description.items() if key in shape.members}
        self.config = self.build_config(sent, None if spec is None else spec.model)
        return {**self.build_xcom_value(job), SPEC_KEY: None if spec is None else spec.to_dict()}

    def get_spec(self, context: Context) -> JobSpec | None:
        """The spec that this task pushed before it submitted; None if it has not pushed one."""
        if self._spec is None:
            ti: Any = context["ti"]
            pushed = ti.xcom_pull(task_ids=ti.task_id, key=SPEC_KEY, map_indexes=ti.map_index)
            self._spec = None if pushed is None else JobSpec.from_dict(pushed)
        return self._spec

    def _make_spec(self) -> JobSpec:
        request, model = dict(self.get_job_request()), self.get_model_request()
        name_field = self.job_kind.name_field
        base_name = to_safe_name(request.get(name_field), name_field)
        if self.action_if_job_exists != "adopt":
            base_name = self._get_unique_job_name(
                f"{base_name}-1",
                self.action_if_job_exists == "fail",
                getattr(self.hook, self.job_kind.describe_method),
            ).removesuffix("-1")
        if model is not None:
            model_name = to_safe_name(model.get("ModelName"), "Model.ModelName", suffix_length=0)
            model = {**model, "ModelName": model_name}
        return JobSpec(
            kind=self.job_kind,
            base_name=base_name,
            request=request,
            model=model,
            max_attempts=self.max_job_attempts,
            instance_types=tuple(_split_names(self.instance_types)),
            resume=self.resume,
        )

    def _find_role_arn(self, role: str) -> str:
        """The ARN of a role of this name; an ARN is returned as it is."""
        if "/" in role:
            return role
        hook = AwsBaseHook(client_type="iam", **self._hook_parameters)
        return str(call_with_retries(get_client(hook).get_role, {"RoleName": role})["Role"]["Arn"])


class ProcessingJobOperator(JobOperator, SageMakerProcessingOperator):
    """Submit a processing job once; see ``JobOperator`` for what differs from the provider's operator."""

    job_kind: ClassVar[JobKind] = PROCESSING  # type: ignore[misc]  # fixed by the class, read by the mixin
    operator_extra_links = build_links(PROCESSING)
    # The provider 9.12 does not know output_files_to_xcom, which this class has with every version.
    template_fields: Sequence[str] = tuple(
        dict.fromkeys(
            (*SageMakerProcessingOperator.template_fields, "output_files_to_xcom", *OPERATOR_TEMPLATE_FIELDS)
        )
    )

    def __init__(self, *, output_files_to_xcom: list[dict[str, str]] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.output_files_to_xcom = output_files_to_xcom

    def preprocess_config(self) -> None:
        """As in the base class; also requires ``wait_for_completion`` for ``output_files_to_xcom``."""
        if self.output_files_to_xcom and not self.wait_for_completion:
            advice = "needs wait_for_completion=True: files are read afterwards"
            raise RequestError(f"output_files_to_xcom {advice}.")
        super().preprocess_config()

    def get_job_request(self) -> dict[str, Any]:
        """All of ``config`` but the S3Operations."""
        return {key: value for key, value in self.config.items() if key != "S3Operations"}

    def build_config(
        self,
        job_request: dict[str, Any],
        model_request: dict[str, Any] | None,  # noqa: ARG002 - processing has no model
    ) -> dict[str, Any]:
        """A ``config`` with this request."""
        return {**{key: self.config[key] for key in self.config.keys() & {"S3Operations"}}, **job_request}

    def build_xcom_value(self, job: Job) -> dict[str, Any]:
        """``{"Processing": description}`` and, after waiting, the files of ``output_files_to_xcom``."""
        self.serialized_job = to_json_safe(job.description)
        wanted = self.output_files_to_xcom if self.wait_for_completion else None
        files = read_output_files(self.hook, job.description, wanted or [])
        return {"Processing": self.serialized_job, **files}

    def expand_role(self) -> None:
        """Expand RoleArn from a role's name, with this task's region and settings."""
        if "RoleArn" in self.config:
            self.config["RoleArn"] = self._find_role_arn(self.config["RoleArn"])


class TransformJobOperator(JobOperator, SageMakerTransformOperator):
    """Submit a transform job once, and its model; see ``JobOperator`` for what differs from the provider's.

    ``config`` is the CreateTransformJob request, or ``{"Model": …, "Transform": …}`` to make a model for it.
    """

    job_kind: ClassVar[JobKind] = TRANSFORM  # type: ignore[misc]  # fixed by the class, read by the mixin
    operator_extra_links = build_links(TRANSFORM)  # type: ignore[assignment]  # the provider's has one link only
    template_fields: Sequence[str] = (*SageMakerTransformOperator.template_fields, *OPERATOR_TEMPLATE_FIELDS)

    def __init__(self, *, action_if_model_exists: str = "adopt", **kwargs: Any) -> None:
        _check_choice("action_if_model_exists", action_if_model_exists)
        super().__init__(**kwargs)
        self.action_if_model_exists = action_if_model_exists

    def get_job_request(self) -> dict[str, Any]:
        """``config["Transform"]``, or all of ``config`` where it is flat."""
        request: dict[str, Any] = self.config.get("Transform", self.config)
        return {key: value for key, value in request.items() if key != "S3Operations"}

    def get_model_request(self) -> dict[str, Any] | None:
        """``config["Model"]``."""
        model: dict[str, Any] | None = self.config.get("Model")
        return model

    def build_config(
        self, job_request: dict[str, Any], model_request: dict[str, Any] | None
    ) -> dict[str, Any]:
        """A ``config`` in the shape of the original one."""
        config = {key: self.config[key] for key in self.config.keys() & {"S3Operations"}}
        if "Transform" not in self.config:
            return config | job_request
        if model_request is not None:
            config["Model"] = model_request
        return {**config, "Transform": job_request}

    def build_xcom_value(self, job: Job) -> dict[str, Any]:
        """``{"Model": description, "Transform": description}``."""
        wanted = {"ModelName": job.description["ModelName"]}
        self.serialized_model = to_json_safe(call_with_retries(get_client(self.hook).describe_model, wanted))
        self.serialized_transform = to_json_safe(job.description)
        return {"Model": self.serialized_model, "Transform": self.serialized_transform}

    def expand_role(self) -> None:
        """Expand the model's ExecutionRoleArn from a role's name, with this task's region and settings."""
        model = self.get_model_request()
        if model is not None and "ExecutionRoleArn" in model:
            model["ExecutionRoleArn"] = self._find_role_arn(model["ExecutionRoleArn"])


def _split_names(value: Sequence[str] | str) -> Sequence[str]:
    """Names from a list, or from a string separated by blanks, as templates render it."""
    return value.split() if isinstance(value, str) else value


def _check_choice(argument: str, value: str) -> None:
    """Raise RequestError unless ``value`` is an action for an existing job or model."""
    if value not in _EXISTING_ACTIONS:
        raise RequestError(f"{argument} is {value!r}; allowed are {', '.join(map(repr, _EXISTING_ACTIONS))}.")
