"""Names of objects: which are control files, and which cannot be files of a job."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from include.scoring.errors import LintError
from include.scoring.messages import count, listed

#: Most bytes of the name of a file or folder on Linux.
LONGEST_SEGMENT = 255
#: A character of UTF-8 has at most four bytes, so the bytes of shorter names need not be counted.
_SURELY_SHORT = LONGEST_SEGMENT // 4
#: Most bytes of an S3 key.
LONGEST_KEY = 1024
#: Keys that an error names for each problem.
KEYS_NAMED = 3
_CONTROL_BEGINNINGS = ("_", ".")
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")


def is_control_name(name: str) -> bool:
    """Whether Spark takes a file or folder of this name for a control file.

    A partition folder `_column=value` is data; `x._COPYING_` is a file that Hadoop has not finished.
    """
    if name[:1] not in _CONTROL_BEGINNINGS:
        return name[-1:] == "_" and name.endswith("._COPYING_")
    return "=" not in name if name[0] == "_" else name not in (".", "..")


def find_problem(segments: list[str]) -> str | None:
    """Why an object whose key has these parts between slashes cannot be a file of a job; None when it can."""
    if "" in segments:
        return "with an empty part between two slashes, or a slash at the end"
    if "." in segments or ".." in segments:
        return "with the part `.` or `..`, which means another folder"
    for segment in segments:
        if not segment.isprintable() and _CONTROL_CHARACTER.search(segment):
            return "with control characters"
        if len(segment) > _SURELY_SHORT and len(segment.encode()) > LONGEST_SEGMENT:
            return f"with a part of more than {LONGEST_SEGMENT} bytes between two slashes"
    return None


@dataclass(slots=True)
class KeyCount:
    """How many keys were added, and the first of them."""

    number: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, key: str) -> None:
        """Count one more key."""
        self.number += 1
        if len(self.examples) < KEYS_NAMED:
            self.examples.append(key)


class NameCheck:
    """Collects the keys of an input, in S3's order, that SageMaker cannot put into a file system under their names.

    It holds a few keys at a time, however many there are. `longest_name` is the most bytes of a key behind the folder
    that the job's manifest begins with, its base.
    """

    def __init__(self, longest_name: int) -> None:
        self._longest_name, self._surely_fits = longest_name, longest_name // 4
        self.enter("")
        #: Keys that each begin with the one before: a folder among them would be a file too.
        self._beginnings: list[str] = []
        self._problems: dict[str, KeyCount] = {}

    def enter(self, folder: str) -> None:
        """What is added from now on lies in this folder: what its key has between the base and its last slash."""
        self._folder, self._folder_problem = folder, find_problem(folder.split("/")[:-1])

    def add(self, key: str, name: str) -> None:
        """Look at the next key; `name` is what follows its last slash."""
        # Nearly all names are short and plain; of a million, half a second is saved by not asking each for all.
        if (
            self._folder_problem is not None
            or not name
            or name[0] == "."
            or len(name) > _SURELY_SHORT
            or not name.isprintable()
        ):
            problem = self._folder_problem or find_problem([name])
            if problem is not None:
                self._count(problem, key)
        if len(key) > self._surely_fits and len((self._folder + name).encode()) > self._longest_name:
            self._count(
                f"longer than the {self._longest_name} bytes that the keys of the job's output leave them",
                key,
            )
        beginnings = self._beginnings
        while beginnings and not key.startswith(beginnings[-1]):
            beginnings.pop()
        if beginnings and any(key[len(each)] == "/" for each in beginnings):
            self._count("below a key that is an object itself, which would be a file and a folder", key)
        beginnings.append(key)

    def _count(self, problem: str, key: str) -> None:
        self._problems.setdefault(problem, KeyCount()).add(key)

    def refuse(self, uri: str) -> None:
        """Raise LintError when there were such keys."""
        problems = tuple(
            f"input: found {count(found.number, 'key')} {problem}, below {uri}: "
            f"{listed([repr(key) for key in found.examples])}"
            f"{f' and {found.number - len(found.examples):,} more' if found.number > len(found.examples) else ''}; "
            f"a job reads objects as files, so give them other keys"
            for problem, found in self._problems.items()
        )
        if problems:
            raise LintError(problems)
