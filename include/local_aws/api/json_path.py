"""The characters AWS takes in a filter, checked when the job is created; what a path selects is the runner's."""

from __future__ import annotations

import regex

from include.local_aws.api.errors import ValidationError

OPERATORS = ("$", "[", "]", "*", ".", " ", ",", ":", "-", "'")

_INDEX = r"\s*-?\d+\s*"
_NAME = r"'[A-Za-z0-9 -]+'"
_ELEMENT = rf"(?:{_INDEX}|(?:{_INDEX}|\s*):(?:{_INDEX}|\s*))"
_STEP = rf"""(?:
    \.[A-Za-z0-9-]+ | \.\*
  | \[\s*\*\s*\]
  | \[\s*{_NAME}\s*(?:,\s*{_NAME}\s*)*\]
  | \[{_ELEMENT}(?:,{_ELEMENT})*\]
)"""
_PATH = regex.compile(rf"\s*\${_STEP}*\s*", regex.VERBOSE)


def check_filter(name: str, path: str, content_type: str) -> None:
    """Raise ValidationError for a path AWS refuses at once; `name` is InputFilter or OutputFilter.

    A list of ranges passes here: AWS, too, only fails it when the job runs (sagemaker.md, section 5).
    """
    for character in path:
        if not (character.isascii() and character.isalnum()) and character not in OPERATORS:
            shown = ", ".join("'''" if operator == "'" else f"'{operator}'" for operator in OPERATORS)
            raise ValidationError(
                f'Invalid {name}: "{path}". Unexpected "{character}" in JsonPath. '
                f'Supported operators for "{content_type}" are [{shown}]'
            )
    if not _PATH.fullmatch(path):
        raise ValidationError(
            f'Invalid {name}: "{path}" is not a JsonPath. It starts with $, followed by .name, .*, [*], '
            "['a','b'], [1,2] or [1:5]"
        )
