"""The listing of a run's input, read once as a stream: counts and sizes, and what would be scored by accident."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple, TextIO

from include.scoring import sizing
from include.scoring.errors import LintError
from include.scoring.messages import count, is_or_are, listed
from include.scoring.rules import Noun
from include.scoring.s3uri import split

# Hashing a thousand lines at once is five times as fast as one by one.
LINES_AT_A_TIME = 1000


class S3Object(NamedTuple):
    """One object of a listing; `size` in bytes. A tuple, since listings hold millions of them."""

    key: str
    size: int
    etag: str = ""


class LeftOut(Noun):
    """Objects that a listing holds and that are not input.

    `control_files` have names that begin with `_` or `.`, or lie in such folders; `example` is the key of one.
    `unpublished` lie where a run was published and are not named by its manifest; so many `manifests` were followed,
    and `run` says whose, where it is one.
    """

    control_files: int = 0
    unpublished: int = 0
    manifests: int = 0
    run: str | None = None
    example: str | None = None

    def beside_nothing(self) -> str:
        """What an input without any object holds nevertheless: the end of a sentence, or nothing."""
        found = []
        if self.control_files:
            found.append(
                f"{count(self.control_files, 'control file')} (names of files or folders that begin with _ or ., such "
                f"as {self.example})"
            )
        if self.unpublished:
            found.append(f"{count(self.unpublished, 'object')} that no _manifest.json beside them names")
        return f" besides {listed(found)}, which are never input" if found else ""

    def sentences(self) -> Iterator[str]:
        """What was left out, and why."""
        if self.control_files:
            yield (
                f"{count(self.control_files, 'control file')} {is_or_are(self.control_files)} left out, such as "
                f"{self.example}: a name of a file or folder that begins with _ or . is not input."
            )
        if self.manifests:
            whose = f"the run {self.run}" if self.run else f"{self.manifests:,} published runs"
            others = (
                f"{count(self.unpublished, 'object')} beside them {is_or_are(self.unpublished)} left out, because no "
                f"manifest names {'it' if self.unpublished == 1 else 'them'}"
                if self.unpublished
                else "nothing else lies beside them"
            )
            yield f"The input is what {whose} published, as _manifest.json says; {others}."


class InputPlan(Noun):
    """What the listing held, without empty objects.

    `text_bytes` is `bytes` with what is packed counted as unpacked, `squares` the sum of squared sizes of text;
    `digest` changes when any key, size or etag does.
    """

    uri: str
    objects: int
    bytes: int
    largest_bytes: int
    text_bytes: int
    largest_text_bytes: int
    squares: float
    packed_objects: int
    digest: str
    left_out: LeftOut = LeftOut()


class NaivePlan(Noun):
    """What an unsized run would do, for comparison: the most instances allowed, objects handed out in turn."""

    instance_count: int
    fullest_bytes: int


def describe_input(
    uri: str, objects: Iterable[S3Object], compression: str, instances: int
) -> tuple[InputPlan, NaivePlan]:
    """Read a listing once, without keeping it. `instances` is what a naive run would take."""
    digest = hashlib.sha256()
    number = total = largest = text = largest_text = packed_objects = 0
    squares = 0.0
    in_turn = [0] * instances
    lines: list[str] = []
    for key, size_, etag in objects:
        if size_ <= 0:
            continue
        packed = compression in ("gzip", "zstd") or (compression == "auto" and key.endswith((".gz", ".zst")))
        unpacked = size_ * sizing.PACKED_GROWTH if packed else size_
        packed_objects += packed
        total += size_
        text += unpacked
        largest = max(largest, size_)
        largest_text = max(largest_text, unpacked)
        squares += float(unpacked) * unpacked
        in_turn[number % instances] += unpacked
        number += 1
        lines.append(listing_line(key, size_, etag))
        if len(lines) == LINES_AT_A_TIME:
            digest.update("".join(lines).encode())
            lines.clear()
    digest.update("".join(lines).encode())
    described = InputPlan(
        uri=uri,
        objects=number,
        bytes=total,
        largest_bytes=largest,
        text_bytes=text,
        largest_text_bytes=largest_text,
        squares=squares,
        packed_objects=packed_objects,
        digest=digest.hexdigest(),
    )
    return described, NaivePlan(instance_count=instances, fullest_bytes=max(in_turn))


def listing_line(key: str, size: int, etag: str) -> str:
    """One object in a stored listing, whose SHA-256 is `digest`.

    Keys hold no line break that S3 would not escape, and sizes no text, so this is unambiguous.
    """
    return f"{size} {etag} {key!r}\n"


def noted_in_listing(objects: Iterable[S3Object], file: TextIO) -> Iterator[S3Object]:
    """The objects, each written into `file` as it passes; empty ones are left out there, as everywhere."""
    passing = iter(objects)
    while batch := list(islice(passing, LINES_AT_A_TIME)):
        file.writelines([listing_line(*each) for each in batch if each.size > 0])
        yield from batch


def replaced(planned: Iterable[str], now: Iterable[S3Object]) -> Iterator[tuple[S3Object, S3Object]]:
    """The objects of a stored listing that have another size or etag `now`, as planned and as they are.

    `planned` are the lines of `noted_in_listing`. Both listings are in S3's order, by code points; one line of
    each is held at a time. Objects that only one of them has are passed over.
    """
    lines = iter(planned)
    line = next(lines, None)
    for item in now:
        if line == listing_line(*item):
            # As nearly always; reading the line would take ten times as long.
            line = next(lines, None)
            continue
        while line is not None and (there := _read_line(line)).key <= item.key:
            if there.key == item.key and there != item:
                yield there, item
            line = next(lines, None)


def _read_line(line: str) -> S3Object:
    size, etag, key = line.rstrip("\n").split(" ", 2)
    return S3Object(str(ast.literal_eval(key)), int(size), etag)


def one_folder(input_uri: str, objects: Iterable[S3Object]) -> Iterable[S3Object]:
    """The objects as they are. Raises LintError when the URI means a folder and matches others by accident."""
    _, prefix = split(input_uri)
    return objects if prefix.endswith("/") or not prefix else _checked(input_uri, prefix, objects)


def _checked(input_uri: str, prefix: str, objects: Iterable[S3Object]) -> Iterator[S3Object]:
    inside = beside = None
    for item in objects:
        if item.key == prefix or item.key[len(prefix)] == "/":
            inside = item.key
        else:
            beside = item.key
        if inside is not None and beside is not None:
            raise LintError((_ambiguous(input_uri, inside, beside),))
        yield item


def _ambiguous(input_uri: str, inside: str, beside: str) -> str:
    return (
        f"input: found {input_uri}, which matches {inside!r} and also {beside!r}, because an S3 prefix is a mere "
        f"beginning of a key; write {input_uri}/ for the folder alone"
    )
