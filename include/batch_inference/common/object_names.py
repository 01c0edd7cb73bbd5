"""Checks S3 keys: which are control files, and which cannot be files in a job's container."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from batch_inference.common.errors import RequestLintError
from batch_inference.common.formatting import format_count, join_words

#: Maximum bytes of the name of a file or folder on Linux.
MAX_SEGMENT_BYTES = 255
#: A UTF-8 character has at most four bytes, so names of up to this many characters always fit.
_MAX_UNCOUNTED_CHARACTERS = MAX_SEGMENT_BYTES // 4
#: Maximum bytes of an S3 key.
MAX_KEY_BYTES = 1024
#: Example keys in an error, for each problem.
MAX_EXAMPLES = 3
_CONTROL_PREFIXES = ("_", ".")
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")


def is_control_name(name: str) -> bool:
    """Whether Spark treats a file or folder of this name as a control file.

    A partition folder `_column=value` is data; `x._COPYING_` is a file that Hadoop is still writing.
    """
    if name[:1] not in _CONTROL_PREFIXES:
        return name[-1:] == "_" and name.endswith("._COPYING_")
    return "=" not in name if name[0] == "_" else name not in (".", "..")


def find_key_problem(segments: list[str]) -> str | None:
    """Why an object whose key has these segments cannot be a file in a container; None when it can."""
    if "" in segments:
        return "with an empty part between two slashes, or a slash at the end"
    if "." in segments or ".." in segments:
        return "with the part `.` or `..`, which means another folder"
    for segment in segments:
        if not segment.isprintable() and _CONTROL_CHARACTER.search(segment):
            return "with control characters"
        if len(segment) > _MAX_UNCOUNTED_CHARACTERS and len(segment.encode()) > MAX_SEGMENT_BYTES:
            return f"with a part of more than {MAX_SEGMENT_BYTES} bytes between two slashes"
    return None


@dataclass(slots=True)
class KeyCount:
    """Counts keys and keeps the first of them as examples."""

    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, key: str) -> None:
        """Count one more key."""
        self.count += 1
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append(key)


class KeyNameChecker:
    """Checks the keys of an input, added in S3's order, for those that cannot be files in a container.

    It keeps a few keys in memory, however many are added. `max_name_bytes` is the maximum length of a key behind the
    prefix of the job's manifest.
    """

    def __init__(self, max_name_bytes: int) -> None:
        self._max_name_bytes, self._max_uncounted_characters = max_name_bytes, max_name_bytes // 4
        self.enter_folder("")
        #: Keys that are prefixes of the next one: a folder among them would also be a file.
        self._ancestor_keys: list[str] = []
        self._problems: dict[str, KeyCount] = {}

    def enter_folder(self, folder: str) -> None:
        """Set the folder of the next keys: the part of a key between the manifest's prefix and its last slash."""
        self._folder, self._folder_problem = folder, find_key_problem(folder.split("/")[:-1])

    def add(self, key: str, name: str) -> None:
        """Check the next key; `name` is the part behind its last slash."""
        # Nearly all names are short and printable: this test skips the full checks, half a second for a million names.
        if (
            self._folder_problem is not None
            or not name
            or name[0] == "."
            or len(name) > _MAX_UNCOUNTED_CHARACTERS
            or not name.isprintable()
        ):
            problem = self._folder_problem or find_key_problem([name])
            if problem is not None:
                self._count(problem, key)
        if (
            len(key) > self._max_uncounted_characters
            and len((self._folder + name).encode()) > self._max_name_bytes
        ):
            self._count(
                f"longer than the {self._max_name_bytes} bytes that the keys of the job's output leave them",
                key,
            )
        ancestor_keys = self._ancestor_keys
        while ancestor_keys and not key.startswith(ancestor_keys[-1]):
            ancestor_keys.pop()
        if ancestor_keys and any(key[len(each)] == "/" for each in ancestor_keys):
            self._count("below a key that is an object itself, which would be a file and a folder", key)
        ancestor_keys.append(key)

    def _count(self, problem: str, key: str) -> None:
        self._problems.setdefault(problem, KeyCount()).add(key)

    def raise_if_invalid(self, uri: str) -> None:
        """Raise RequestLintError when a key has a problem. `uri` is the input's prefix, for the message."""
        problems = tuple(
            f"input: found {format_count(found.count, 'key')} {problem}, below {uri}: "
            f"{join_words([repr(key) for key in found.examples])}"
            f"{f' and {found.count - len(found.examples):,} more' if found.count > len(found.examples) else ''}; "
            f"a job reads objects as files, so give them other keys"
            for problem, found in self._problems.items()
        )
        if problems:
            raise RequestLintError(problems)
