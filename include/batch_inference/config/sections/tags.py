"""Checks tags against AWS's limits and against the keys that are reserved for runs."""

from __future__ import annotations

import unicodedata
from typing import Annotated, TypeAlias

from pydantic import AfterValidator

MAX_KEY_LENGTH, MAX_VALUE_LENGTH = 128, 256
#: Keys that are set on every job and model, and the prefix of the keys by which the jobs of a run are found.
RESERVED_KEYS, RESERVED_PREFIX = ("pipeline", "pipeline-stage", "model"), "airflow:"
_ALLOWED_PUNCTUATION = "_.:/=+-@"


def _check_characters(text: str) -> None:
    # AWS's pattern: ([\p{L}\p{Z}\p{N}_.:/=+\-@]*)
    for character in text:
        if character not in _ALLOWED_PUNCTUATION and unicodedata.category(character)[0] not in "LZN":
            raise ValueError(
                f"found {character!r} in {text!r}; AWS allows letters, digits, spaces and "
                f"{' '.join(_ALLOWED_PUNCTUATION)}"
            )


def _check_key(key: str) -> str:
    if not 1 <= len(key) <= MAX_KEY_LENGTH:
        raise ValueError(f"found a key of {len(key)} characters; AWS allows 1 to {MAX_KEY_LENGTH}")
    _check_characters(key)
    if key.lower().startswith("aws:"):
        raise ValueError(f"found {key!r}; keys that begin with aws: are AWS's own")
    if key in RESERVED_KEYS or key.startswith(RESERVED_PREFIX):
        raise ValueError(
            f"found {key!r}; {', '.join(RESERVED_KEYS)} and keys that begin with {RESERVED_PREFIX} are set for each run"
        )
    return key


def _check_value(value: str) -> str:
    if len(value) > MAX_VALUE_LENGTH:
        raise ValueError(f"found a value of {len(value)} characters; AWS allows {MAX_VALUE_LENGTH}")
    _check_characters(value)
    return value


TagKey: TypeAlias = Annotated[str, AfterValidator(_check_key)]
TagValue: TypeAlias = Annotated[str, AfterValidator(_check_value)]
