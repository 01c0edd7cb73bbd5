"""Describes a job before its attempts: all that is needed to find it again or to start the next attempt."""

from __future__ import annotations

import copy
import hashlib
import re
from dataclasses import asdict, dataclass
from typing import Any

from sagemaker_jobs.errors import RequestError
from sagemaker_jobs.kinds import KINDS, TRANSFORM, JobKind

MAX_NAME_LENGTH = 63  # of processing, transform and model names alike
JOB_NAME_TOKEN = "{job_name}"  # noqa: S105 - a placeholder in requests, not a secret
_ATTEMPT_ROOM = len("-99")
_HASH_LENGTH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What the first attempt of a job has in place of members of its request, such as another instance type.

    If it does not complete, for whatever reason, the next attempt does all of the work with the request as it is.

    Attributes:
        request: the members that differ, at any depth of dicts.
        max_runtime_seconds: the trial's own limit of billed time.
        max_provisioning_seconds: how long it may wait for its instances; None for as long as AWS does.
    """

    request: dict[str, Any]
    max_runtime_seconds: float
    max_provisioning_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """A job before its attempts; attempt n is named ``<base_name>-<n>``.

    Attributes:
        kind: processing or transform.
        base_name: at most 60 characters of ``[A-Za-z0-9-]``; equal over automatic retries.
        request: the Create…Job request; its name is replaced, and ``{job_name}`` in any text becomes the
            final name.
        model: the CreateModel request of a model made for this job, shared by all attempts; or None.
        max_attempts: the most jobs that may be started automatically; a cleared task may exceed it.
        instance_types: types to try in turn after the request's own had no capacity; () to keep that one.
        resume: whether a failed transform is resumed with the objects that have no output yet.
        trial: what the first attempt tries; None if it is as all others.
    """

    kind: JobKind
    base_name: str
    request: dict[str, Any]
    model: dict[str, Any] | None = None
    max_attempts: int = 3
    instance_types: tuple[str, ...] = ()
    resume: bool = False
    trial: Trial | None = None

    def build_job_name(self, attempt: int) -> str:
        """The name of attempt ``attempt``, which counts from 1."""
        return f"{self.base_name}-{attempt}"

    def build_request(self, attempt: int) -> dict[str, Any]:
        """The request of one attempt, a new dict, with its final name in place of every ``{job_name}``."""
        name = self.build_job_name(attempt)
        request: dict[str, Any] = _replace_token(copy.deepcopy(self.request), name)
        request[self.kind.name_field] = name
        if self.model is not None and self.kind is TRANSFORM:
            request["ModelName"] = self.model["ModelName"]
        return request

    def build_trial_request(self) -> dict[str, Any]:
        """The request of the first attempt with what the trial tries."""
        return (
            self.build_request(1) if self.trial is None else _merge(self.build_request(1), self.trial.request)
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe form, for XCom."""
        return {**asdict(self), "kind": self.kind.name, "instance_types": list(self.instance_types)}

    @classmethod
    def from_dict(cls, data: Any) -> JobSpec:
        """Inverse of ``to_dict``; raises RequestError when ``data`` is something else."""
        try:
            types = tuple(data.get("instance_types", ()))
            trial = data.get("trial") and Trial(**data["trial"])
            return cls(**{**data, "kind": KINDS[data["kind"]], "instance_types": types, "trial": trial})
        except (AttributeError, KeyError, TypeError) as error:
            raise RequestError(
                f"spec is {_shorten(data)}; allowed is what the operator pushed under the XCom key 'spec'. "
                "Pass spec=<operator>.output['spec'] and leave do_xcom_push on."
            ) from error


def to_safe_name(name: Any, field_name: str, *, suffix_length: int = _ATTEMPT_ROOM) -> str:
    """A name that AWS accepts and that leaves ``suffix_length`` characters for a suffix.

    A valid name that fits is returned unchanged. Otherwise forbidden characters (a run id has ``:``, ``+``, ``_`` and
    ``.``) become ``-``, the name is cut, and a hash of the original keeps different names different.
    """
    if not isinstance(name, str) or not re.search(r"[A-Za-z0-9]", name):
        raise RequestError(f"{field_name} is {name!r}; allowed is text with at least one letter or digit.")
    limit = MAX_NAME_LENGTH - suffix_length
    cleaned = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")
    if re.fullmatch(r"[A-Za-z0-9](-*[A-Za-z0-9])*", name) and len(name) <= limit:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_HASH_LENGTH]
    return f"{cleaned[: limit - _HASH_LENGTH - 1].strip('-')}-{digest}"


def _merge(request: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`request` with the members of `changes`, dict by dict."""
    merged = {
        key: _merge(request.get(key, {}), value) if isinstance(value, dict) else value
        for key, value in changes.items()
    }
    return {**request, **merged}


def _replace_token(value: Any, name: str) -> Any:
    if isinstance(value, str):
        return value.replace(JOB_NAME_TOKEN, name)
    if isinstance(value, dict):
        return {key: _replace_token(item, name) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_replace_token(item, name) for item in value]
    return value


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
