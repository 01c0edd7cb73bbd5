"""Tags that AWS takes, and that leave those by which runs are found alone."""

from __future__ import annotations

import unicodedata
from typing import Annotated, TypeAlias

from pydantic import AfterValidator

LONGEST_KEY, LONGEST_VALUE = 128, 256
#: What jobs and models carry already, and the beginning of the keys by which a run's jobs are found.
OWN_KEYS, OWN_PREFIX = ("pipeline", "step", "model"), "airflow:"
_SIGNS = "_.:/=+-@"


def _check_characters(text: str) -> None:
    # AWS's pattern: ([\p{L}\p{Z}\p{N}_.:/=+\-@]*)
    for character in text:
        if character not in _SIGNS and unicodedata.category(character)[0] not in "LZN":
            raise ValueError(
                f"found {character!r} in {text!r}; AWS allows letters, digits, spaces and {' '.join(_SIGNS)}"
            )


def _check_key(key: str) -> str:
    if not 1 <= len(key) <= LONGEST_KEY:
        raise ValueError(f"found a key of {len(key)} characters; AWS allows 1 to {LONGEST_KEY}")
    _check_characters(key)
    if key.lower().startswith("aws:"):
        raise ValueError(f"found {key!r}; keys that begin with aws: are AWS's own")
    if key in OWN_KEYS or key.startswith(OWN_PREFIX):
        raise ValueError(
            f"found {key!r}; {', '.join(OWN_KEYS)} and what begins with {OWN_PREFIX} is set for each run"
        )
    return key


def _check_value(value: str) -> str:
    if len(value) > LONGEST_VALUE:
        raise ValueError(f"found a value of {len(value)} characters; AWS allows {LONGEST_VALUE}")
    _check_characters(value)
    return value


TagKey: TypeAlias = Annotated[str, AfterValidator(_check_key)]
TagValue: TypeAlias = Annotated[str, AfterValidator(_check_value)]
