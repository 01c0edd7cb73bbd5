"""Decodes JSON into dataclasses by their type hints; errors name the field, what was found and what is allowed.

The container has no pydantic, which has validated the pipeline file before. Here keys and types are checked again, so
that a file written by another version of this package is refused.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Dict, Literal, Type, TypeVar, Union, get_args, get_origin, get_type_hints

from batch_inference.jobs.common.errors import ConfigError

_Decoded = TypeVar("_Decoded")
# By type of a field: its name in messages, and the types of the json module that are allowed.
_KINDS: Dict[Any, Any] = {
    str: ("a string", (str,)),
    bool: ("true or false", (bool,)),
    int: ("a whole number", (int,)),
    float: ("a number", (int, float)),
    tuple: ("a list", (list,)),
    dict: ("an object", (dict,)),
}


def read_document(path: Path) -> Any:
    """Read a JSON file. Raises ConfigError that names it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON: {error}") from error


def decode_version(config_type: Type[_Decoded], document: Any, version: int) -> _Decoded:
    """Decode the document, whose `version` must be this one. Raises ConfigError."""
    config: _Decoded = decode(config_type, document)
    if document["version"] != version:
        raise ConfigError(f"version is {document['version']}, this job reads version {version}")
    return config


def decode(kind: Any, value: Any, path: str = "") -> Any:
    """Decode the JSON value at `path` as `kind`, whose keys are its field names; null counts as missing.

    `kind` is a dataclass; its fields are str, bool, int, float, Literal of strings, Optional[X], Tuple[X, ...],
    Dict[str, X], dataclasses, or Union[int, float], which keeps integers exact, with or without str. Raises
    ConfigError.
    """
    base, parts = get_origin(kind) or kind, get_args(kind)
    if base is Union:
        if str in parts and isinstance(value, str):
            return value
        decoded = decode(float if float in parts else parts[0], value, path)
        return value if int in parts else decoded
    if base is Literal:
        if decode(str, value, path) not in parts:
            raise ConfigError(f"{path} is {value!r}, allowed are {', '.join(parts)}")
        return value
    name, allowed_types = _get_kind(kind)
    if type(value) not in allowed_types:
        shown = json.dumps(value)
        shown = shown if len(shown) <= 60 else shown[:57] + "..."
        raise ConfigError(f"{path or 'the configuration'} is {shown}, allowed is {name}")
    if is_dataclass(base):
        return _decode_object(base, value, path)
    if base is tuple:
        return tuple(decode(parts[0], one, f"{path}[{index}]") for index, one in enumerate(value))
    if base is dict:
        return {key: decode(parts[1], one, f"{path}.{key}") for key, one in value.items()}
    return float(value) if base is float else value


def _decode_object(kind: Any, value: Dict[str, Any], path: str) -> Any:
    prefix = f"{path}." if path else ""
    known = {field.name: field for field in fields(kind)}
    unknown = sorted(set(value) - set(known))
    if unknown:
        raise ConfigError(f"{prefix}{unknown[0]} is not known, allowed are {', '.join(known)}")
    decoded = {}
    for name, hint in get_type_hints(kind).items():
        if value.get(name) is not None:
            decoded[name] = decode(hint, value[name], f"{prefix}{name}")
        elif known[name].default is MISSING and known[name].default_factory is MISSING:
            raise ConfigError(f"{prefix}{name} is missing, it must be {_get_kind(hint)[0]}")
    return kind(**decoded)


def _get_kind(hint: Any) -> Any:
    base = get_origin(hint) or hint
    return _KINDS[str if base is Literal else dict if is_dataclass(base) else base]
