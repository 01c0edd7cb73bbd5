"""What IAM decides for a call, for the part of its language that our policies use; anything else is an error."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any


@dataclass(frozen=True)
class Call:
    """An action on a resource, with the condition keys that AWS gives it."""

    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict, hash=False)


@lru_cache(maxsize=4096)
def compile_pattern(text: str) -> re.Pattern[str]:
    """IAM: `*` and `?` match, `${*}`, `${?}` and `${$}` are those characters; other variables are refused."""
    made = ""
    for variable, wildcard, literal in re.findall(r"\$\{([^}]*)\}|([*?])|(.)", text, re.DOTALL):
        if literal:
            made += re.escape(literal)
        elif wildcard:
            made += ".*" if wildcard == "*" else "."
        elif variable in {"*", "?", "$"}:
            made += re.escape(variable)
        else:
            raise ValueError(f"the policy variable {variable!r} in {text!r} is not evaluated here")
    return re.compile(made, re.DOTALL)


def matches(wanted: str, found: str) -> bool:
    """Whether the whole of `found` matches."""
    return compile_pattern(wanted).fullmatch(found) is not None


OPERATORS = {
    "StringEquals": lambda wanted, found: wanted == found,
    "StringLike": matches,
    "ArnLike": matches,
    "Bool": lambda wanted, found: wanted.lower() == found.lower(),
    "ForAnyValue:StringEquals": lambda wanted, found: wanted == found,
}


def is_condition_met(condition: Mapping[str, Mapping[str, Any]], context: Mapping[str, str]) -> bool:
    """Whether every key of every operator has one of its values; a key that the call lacks never has."""
    for operator, keys in condition.items():
        compare = OPERATORS[operator]
        for key, wanted in keys.items():
            values = [wanted] if isinstance(wanted, str) else wanted
            if key not in context or not any(compare(value, context[key]) for value in values):
                return False
    return True


def find_allowing_statements(document: Mapping[str, Any], call: Call) -> list[tuple[int, str, str]]:
    """Statement, action and resource of each way in which the document allows the call; none where it denies it."""
    found: dict[str, list[tuple[int, str, str]]] = {"Allow": [], "Deny": []}
    for number, statement in enumerate(document["Statement"]):
        if (
            set(statement) - {"Sid", "Effect", "Action", "Resource", "Condition"}
            or statement["Effect"] not in found
        ):
            raise ValueError(f"statement {number} holds what is not evaluated here: {statement}")
        if not is_condition_met(statement.get("Condition", {}), call.context):
            continue
        found[statement["Effect"]] += [
            (number, action, resource)
            for action in statement["Action"]
            if matches(action.lower(), call.action.lower())
            for resource in statement["Resource"]
            if matches(resource, call.resource)
        ]
    return [] if found["Deny"] else found["Allow"]
