"""Defines the arguments of an operation: its request, account and region, and the shared services."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from local_aws.api.lookups import AwsClients
from local_aws.faults import FaultInjector
from local_aws.jobs.supervisor import Supervisor
from local_aws.settings import Settings
from local_aws.state.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything the operations share."""

    settings: Settings
    store: Store
    supervisor: Supervisor
    faults: FaultInjector
    aws: AwsClients


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of one operation; `request` is parsed and validated, `now` is epoch seconds."""

    operation: str
    request: dict[str, Any]
    region: str
    now: float
    services: Services

    @property
    def account_id(self) -> str:
        """The ID of the one account."""
        return self.services.settings.account_id

    def build_arn(self, resource: str, name: str) -> str:
        """The ARN of a resource, with the name in lower case, as in recorded responses of AWS."""
        return f"arn:aws:sagemaker:{self.region}:{self.account_id}:{resource}/{name.lower()}"

    def build_name_key(self, name: str) -> str:
        """The unique key of a name."""
        return name.lower() if self.services.settings.case_insensitive_names else name

    def build_columns(self, resource: str, name: str) -> dict[str, Any]:
        """The columns of `Resource` for what the call creates."""
        return {
            "region": self.region,
            "name": name,
            "name_key": self.build_name_key(name),
            "arn": self.build_arn(resource, name),
            "request": self.request,
            "created_at": self.now,
        }


Handler = Callable[[Call], dict[str, Any] | None]
