"""Summarizes the listing of a run's input, read once as a stream, and finds objects that match the URI by accident."""

from __future__ import annotations

import ast
import hashlib
import json
from array import array
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple, TextIO

from batch_inference.common.errors import RequestLintError
from batch_inference.common.formatting import conjugate_be, format_count, join_words
from batch_inference.common.s3_uri import get_folder_uri, split_s3_uri
from batch_inference.config.sections.record_rules import FrozenModel
from batch_inference.planning.clusters import sizing
from batch_inference.planning.clusters.work_division import SizeProfile

# Hashing a thousand lines at once is five times as fast as one by one.
LINES_PER_BATCH = 1000


class S3Object(NamedTuple):
    """One object of a listing; `size` in bytes. A tuple, since listings hold millions of them."""

    key: str
    size: int
    etag: str = ""


class ExcludedObjects(FrozenModel):
    """Objects of a listing that are not input.

    `control_files` have names that begin with `_` or `.`, or are in such folders; `example` is the key of one.
    `unpublished` are objects in the output of a published run that its manifest does not name; `manifests` is how many
    manifests were read, `run` the run of the manifest where there is only one.
    """

    control_files: int = 0
    unpublished: int = 0
    manifests: int = 0
    run: str | None = None
    example: str | None = None

    def describe_for_empty_input(self) -> str:
        """The end of the sentence about an input without objects: what was excluded, or nothing."""
        found = []
        if self.control_files:
            found.append(
                f"{format_count(self.control_files, 'control file')} (names of files or folders that begin with _ "
                f"or ., such as {self.example})"
            )
        if self.unpublished:
            found.append(
                f"{format_count(self.unpublished, 'object')} that the _manifest.json of their folder does not name"
            )
        return f" besides {join_words(found)}, which are never input" if found else ""

    def describe(self) -> Iterator[str]:
        """Sentences on what was excluded, and why."""
        if self.control_files:
            yield (
                f"{format_count(self.control_files, 'control file')} {conjugate_be(self.control_files)} left out, "
                f"such as {self.example}: a name of a file or folder that begins with _ or . is not input."
            )
        if self.manifests:
            whose = f"the run {self.run}" if self.run else f"{self.manifests:,} published runs"
            others = (
                f"{format_count(self.unpublished, 'object')} of the same folder {conjugate_be(self.unpublished)} "
                f"left out, because no manifest names {'it' if self.unpublished == 1 else 'them'}"
                if self.unpublished
                else "there is nothing else"
            )
            yield f"The input is what {whose} published, as _manifest.json says; {others}."


class InputPlan(FrozenModel):
    """The input of a run, without empty objects.

    `text_bytes` is `bytes` with compressed objects counted at their estimated uncompressed size; `digest` changes when
    any key, size or ETag does.
    """

    uri: str
    objects: int
    bytes: int
    largest_bytes: int
    text_bytes: int
    largest_text_bytes: int
    compressed_objects: int
    digest: str
    excluded: ExcludedObjects = ExcludedObjects()


class NaivePlan(FrozenModel):
    """The transform of an unsized run, for comparison: all instances allowed, objects assigned in turn."""

    instance_count: int
    largest_share_bytes: int


def summarize_input(
    uri: str, objects: Iterable[S3Object], compression: str, max_instances: int
) -> tuple[InputPlan, NaivePlan, SizeProfile]:
    """Summarize a listing, read once and not kept. `max_instances` is the size of the naive run."""
    digest = hashlib.sha256()
    object_count = total = largest = text = largest_text = compressed_count = 0
    profile, text_sizes = SizeProfile(), array("q")
    naive_bytes = [0] * max_instances
    lines: list[str] = []
    for key, size_, etag in objects:
        if size_ <= 0:
            continue
        is_compressed = compression in ("gzip", "zstd") or (
            compression == "auto" and key.endswith((".gz", ".zst"))
        )
        text_size = size_ * sizing.ASSUMED_COMPRESSION_RATIO if is_compressed else size_
        compressed_count += is_compressed
        total += size_
        text += text_size
        largest = max(largest, size_)
        largest_text = max(largest_text, text_size)
        text_sizes.append(text_size)
        naive_bytes[object_count % max_instances] += text_size
        object_count += 1
        lines.append(format_listing_line(key, size_, etag))
        if len(lines) == LINES_PER_BATCH:
            digest.update("".join(lines).encode())
            lines.clear()
            profile.extend(text_sizes)
            del text_sizes[:]
    digest.update("".join(lines).encode())
    profile.extend(text_sizes)
    described = InputPlan(
        uri=uri,
        objects=object_count,
        bytes=total,
        largest_bytes=largest,
        text_bytes=text,
        largest_text_bytes=largest_text,
        compressed_objects=compressed_count,
        digest=digest.hexdigest(),
    )
    return described, NaivePlan(instance_count=max_instances, largest_share_bytes=max(naive_bytes)), profile


def format_listing_line(key: str, size: int, etag: str) -> str:
    """The line of an object in a stored listing, whose SHA-256 is `digest`.

    `repr` escapes line breaks in keys, and sizes and ETags have no blanks, so this is unambiguous.
    """
    return f"{size} {etag} {key!r}\n"


def tee_to_listing(objects: Iterable[S3Object], file: TextIO) -> Iterator[S3Object]:
    """Yields the objects and writes a line for each that is not empty into `file`."""
    passing = iter(objects)
    while batch := list(islice(passing, LINES_PER_BATCH)):
        file.writelines([format_listing_line(*each) for each in batch if each.size > 0])
        yield from batch


def tee_to_manifest(input_uri: str, objects: Iterable[S3Object], file: TextIO) -> Iterator[S3Object]:
    """Yields the objects and writes them into `file`: a prefix, then keys relative to it, as one JSON list.

    Empty objects are not written. `input_uri` is a raw string prefix; the manifest's prefix ends with its last
    slash, so that names stay whole. The file is complete once the last object has been taken.
    """
    prefix = get_folder_uri(input_uri)
    start = len(split_s3_uri(prefix)[1])
    file.write(f"[{json.dumps({'prefix': prefix}, ensure_ascii=False)}")
    passing = iter(objects)
    while batch := list(islice(passing, LINES_PER_BATCH)):
        names = [key[start:] for key, size, _ in batch if size > 0]
        if names:
            # One call for all of them is five times as fast as one for each.
            file.write(",\n" + json.dumps(names, ensure_ascii=False, separators=(",\n", ":"))[1:-1])
        yield from batch
    file.write("]\n")


def find_replaced_objects(
    planned_lines: Iterable[str], current_objects: Iterable[S3Object]
) -> Iterator[tuple[S3Object, S3Object]]:
    """Pairs of an object as planned and as it is now, for each whose size or ETag has changed.

    `planned_lines` are the lines of `tee_to_listing`. Both listings are in S3's order, by code points; one line of
    each is held at a time. Objects in only one of them are skipped.
    """
    lines = iter(planned_lines)
    line = next(lines, None)
    for item in current_objects:
        if line == format_listing_line(*item):
            # The usual case; parsing the line would take ten times as long.
            line = next(lines, None)
            continue
        while line is not None and (there := parse_listing_line(line)).key <= item.key:
            if there.key == item.key and there != item:
                yield there, item
            line = next(lines, None)


def parse_listing_line(line: str) -> S3Object:
    """The object of a line of `format_listing_line`."""
    size, etag, key = line.rstrip("\n").split(" ", 2)
    return S3Object(str(ast.literal_eval(key)), int(size), etag)


def iter_unless_prefix_ambiguous(input_uri: str, objects: Iterable[S3Object]) -> Iterable[S3Object]:
    """Yields the objects unchanged.

    Raises RequestLintError, while they are taken, when the URI means a folder and matches other keys by accident.
    """
    _, prefix = split_s3_uri(input_uri)
    return objects if prefix.endswith("/") or not prefix else _check_keys(input_uri, prefix, objects)


def _check_keys(input_uri: str, prefix: str, objects: Iterable[S3Object]) -> Iterator[S3Object]:
    inside = outside = None
    for item in objects:
        if item.key == prefix or item.key[len(prefix)] == "/":
            inside = item.key
        else:
            outside = item.key
        if inside is not None and outside is not None:
            problem = (
                f"input: found {input_uri}, which matches {inside!r} and also {outside!r}, because an S3 prefix "
                f"matches every key that begins with it; write {input_uri}/ for the folder alone"
            )
            raise RequestLintError((problem,))
        yield item
