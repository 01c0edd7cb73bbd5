"""AWS's Service Authorization Reference, as the package `parliament` carries it: what works on which resource."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any


@lru_cache(maxsize=1)
def reference() -> dict[str, dict[str, Any]]:
    """Per service prefix: `privileges` by lower-case action, and `resources` by type as regular expressions."""
    # The package itself does not import beside a setuptools of today; its data needs no import.
    package = find_spec("parliament")
    assert package is not None
    assert package.origin is not None
    services: dict[str, dict[str, Any]] = {}
    for service in json.loads(Path(package.origin).with_name("iam_definition.json").read_text()):
        found = services.setdefault(service["prefix"], {"privileges": {}, "resources": {}})
        for privilege in service["privileges"]:
            found["privileges"][privilege["privilege"].lower()] = privilege
        for resource in service["resources"]:
            form = re.escape(re.sub(r"\$\{\w+\}", "\0", resource["arn"])).replace("\0", ".+")
            found["resources"][resource["resource"]] = form
    return services


def problems(statement: dict[str, Any]) -> list[str]:
    """What AWS would ignore or refuse in a statement: unknown actions, resources and keys that do not fit them."""
    found = []
    for action in statement["Action"]:
        service, _, name = action.partition(":")
        privilege = reference().get(service, {"privileges": {}})["privileges"].get(name.lower())
        if privilege is None or privilege["privilege"] != name:
            found.append(f"there is no action {action}")
            continue
        types = {each["resource_type"].rstrip("*") for each in privilege["resource_types"]} - {""}
        forms = [reference()[service]["resources"][each] for each in types]
        for resource in statement["Resource"]:
            fits = any(re.fullmatch(form, resource) for form in forms) if types else resource == "*"
            if not fits:
                found.append(f"{action} does not work on {resource}; on {sorted(types) or ['*']} it does")
        allowed = {key for each in privilege["resource_types"] for key in each["condition_keys"]}
        for operator, keys in statement.get("Condition", {}).items():
            found += [f"{action} has no key {key} ({operator})" for key in keys if key not in allowed]
    return found
