"""DeleteModel: removes the entry only; artefacts stay, and so do jobs that use it."""

from __future__ import annotations

from include.local_aws.api import catalogue
from include.local_aws.api.call import Call


def delete_model(call: Call) -> None:
    """Refused for a model that does not exist."""
    name = call.request["ModelName"]
    if not call.services.store.models.delete(call.region, call.build_name_key(name)):
        raise catalogue.missing_model(call.build_arn("model", name))
