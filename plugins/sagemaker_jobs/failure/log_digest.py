"""Condenses the last log lines of a job's containers: the line that says why, and each traceback once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sagemaker_jobs.failure.reasons import REASONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MAX_LINES = 30
MAX_LINE_CHARACTERS = 400
MAX_CAUSE_CHARACTERS = 500
TRACEBACK = "Traceback (most recent call last):"
#: A line of the service's own log of a transform: the object, then what the container answered for it.
_DATA_LOG_LINE = re.compile(r"^\S*:?\[sagemaker logs\]: ?(?P<object>[^\s:]+/[^\s:]*): ?(?P<text>.*)$")
#: What loggers and CloudWatch's agents put in front of a line.
_LOG_PREFIX = re.compile(r"^(?:\[[^\]]*\]\s*|\d{4}-\d\d-\d\d[T ][\d:.,Z+]+\s*)+")
_FRAME = re.compile(r'^\s+File "(?P<file>[^"]+)", line (?P<line>\d+)(?:, in (?P<function>.+))?$')
_ERROR_LINE = re.compile(
    r"^(?:[A-Za-z_][\w.]*\.)?[A-Z]\w*(?:Error|Exception|Exit|Interrupt|Warning)\b(?::|$)"
)
_LIBRARY_PATH = re.compile(r"site-packages|dist-packages|/lib/python\d|<frozen |/miniconda|/local_aws/")


@dataclass(frozen=True, slots=True)
class LogDigest:
    """What a job's log says: `cause`, one line, or None; and at most MAX_LINES `lines`."""

    cause: str | None
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of a log: its text, and the object that a data-log names in front of it."""

    text: str
    object_name: str = ""

    @classmethod
    def parse(cls, line: str) -> _Line:
        found = _DATA_LOG_LINE.match(line)
        return cls(line.rstrip()) if found is None else cls(found["text"].rstrip(), found["object"])

    @property
    def shown(self) -> str:
        """The line as people see it: of the object, the last part of its name."""
        name = self.object_name.rsplit("/", 1)[-1]
        return _cut(f"…/{name}: {self.text.strip()}" if name else self.text, MAX_LINE_CHARACTERS)

    @property
    def key(self) -> str:
        """Equal for lines that differ in times, numbers, ids and objects only."""
        return re.sub(r"\d+|0x[0-9a-f]+", "0", _LOG_PREFIX.sub("", self.text).strip())


_Block = list[_Line]


def digest_logs(tails: Mapping[str, Sequence[str]]) -> LogDigest:
    """Condense the last lines of each stream, by the stream's name.

    A line or a traceback that was shown before is counted, not shown again, whatever the numbers in it, the stream, or
    the object that a data-log names. The lines of the cause are kept when others are left out.
    """
    blocks = [block for tail in tails.values() for block in _split_blocks(map(_Line.parse, tail))]
    cause, cause_block = _find_cause(blocks)
    if cause is not None and cause_block is not None and (where := _find_code_place(cause_block)):
        cause = f"{cause} ({where})"
    return LogDigest(cause, tuple(_select_lines(_fold(blocks), cause_block)))


def _find_cause(blocks: Sequence[_Block]) -> tuple[str | None, _Block | None]:
    """The line that says why, and its block: of a traceback, else of a known reason, else of any error; the last."""
    for block in reversed(blocks):
        if _is_traceback(block) and _ERROR_LINE.match(block[-1].text.strip()):
            return _cut(block[-1].text.strip(), MAX_CAUSE_CHARACTERS), block
    known = [re.compile(reason.pattern, re.IGNORECASE) for reason in REASONS if reason.applies_to_logs]
    for patterns in (known, [_ERROR_LINE]):
        for block in reversed(blocks):
            text = block[-1].text.strip()
            if any(pattern.search(text) for pattern in patterns):
                name = block[-1].object_name.rsplit("/", 1)[-1]
                return _cut(f"{text} (object {name})" if name else text, MAX_CAUSE_CHARACTERS), block
    return None, None


def _find_code_place(block: _Block) -> str | None:
    """Where a traceback's error was raised: the innermost frame that is not of a library."""
    frames = [found for line in block if (found := _FRAME.match(line.text))]
    own = [frame for frame in frames if not _LIBRARY_PATH.search(frame["file"])]
    if not own:
        return None
    name, number, function = own[-1]["file"].rsplit("/", 1)[-1], own[-1]["line"], own[-1]["function"]
    return f"{name}, line {number}{'' if function in (None, '<module>') else f', in {function}'}"


def _is_traceback(block: _Block) -> bool:
    return block[0].text.strip().endswith(TRACEBACK)


def _split_blocks(lines: Iterable[_Line]) -> list[_Block]:
    """The lines in blocks: a traceback up to its error, or one line."""
    blocks: list[_Block] = []
    is_open = False
    for line in lines:
        if line.text.strip() in ("", "Message:"):
            continue
        if line.text.strip().endswith(TRACEBACK) or not is_open:
            blocks.append([line])
            is_open = _is_traceback(blocks[-1])
        else:
            blocks[-1].append(line)
            # Indented lines are frames and their code; the first that is not indented is the error.
            is_open = line.text.startswith((" ", "\t"))
    return blocks


def _fold(blocks: Sequence[_Block]) -> list[tuple[_Block, int]]:
    """Each block once, in order of its first appearance, and how often it appeared."""
    folded: dict[str, tuple[_Block, int]] = {}
    for block in blocks:
        key = "\n".join(line.key for line in block)
        first, count = folded.get(key, (block, 0))
        folded[key] = first, count + 1
    # A line that stands in a traceback too says nothing new, unless it names an object.
    inner = {line.text.strip() for block, _ in folded.values() if len(block) > 1 for line in block}
    return [
        (block, count)
        for block, count in folded.values()
        if len(block) > 1 or block[0].object_name or block[0].text.strip() not in inner
    ]


def _select_lines(folded: Sequence[tuple[_Block, int]], cause_block: _Block | None) -> list[str]:
    """At most MAX_LINES lines: those of the cause first, then the last of the others, all in their order."""
    cause_key = [] if cause_block is None else [line.key for line in cause_block]
    at_cause = [at for at, (block, _) in enumerate(folded) if cause_key == [line.key for line in block]][:1]
    shown = [_show(block, count) for block, count in folded]
    kept: dict[int, list[str]] = {}
    left = MAX_LINES - 1  # one line says that others are left out
    for at in [*at_cause, *(at for at in reversed(range(len(shown))) if at not in at_cause)]:
        lines = shown[at]
        if len(lines) > left:
            if at not in at_cause:
                break
            lines = [lines[0], "    …", *lines[-(left - 2) :]]
        kept[at] = lines
        left -= len(lines)
    left_out = sum(len(lines) for at, lines in enumerate(shown) if at not in kept)
    selected = [line for at in sorted(kept) for line in kept[at]]
    return [f"… {left_out:,} lines before", *selected] if left_out else selected


def _show(block: _Block, count: int) -> list[str]:
    times = [] if count == 1 else [f"… {'once' if count == 2 else f'{count - 1:,} times'} more"]
    return [*(line.shown for line in block), *times]


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 2]} …"
