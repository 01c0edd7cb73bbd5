"""Records that repeat an earlier one, exactly, over all objects of the run, in bounded memory.

Each host reads all objects in the same order and so comes to the same answer without talking to the others.
A key is compared by 128 bits of its BLAKE2b digest. Only records that passed what stands before a rule count for it: so
they are judged here too, as far as the key does not tell the outcome by itself.
"""

from __future__ import annotations

import tempfile
from hashlib import blake2b
from itertools import compress
from typing import IO, Iterable, Mapping, Sequence, cast

import numpy as np

from include.jobs.batch import Batch
from include.jobs.config import Config
from include.jobs.judge import typed_table, unreadable
from include.jobs.layout import Layout
from include.jobs.objects import InputObject
from include.jobs.rules import compile_rule
from include.jobs.source import read_batches

_ENTRY = np.dtype([("high", "<u8"), ("low", "<u8"), ("ordinal", "<i8")])
_IN_MEMORY = 1 << 20  # entries kept before they are spread over buckets on disk
_BUCKETS = 256


class Seen:
    """Keys with the ordinals of their records; ordinals must arrive in rising order."""

    def __init__(self) -> None:
        self._parts: list[np.ndarray] = []
        self._count = 0
        self._buckets: list[IO[bytes]] = []

    def add(self, digests: bytes, ordinals: np.ndarray) -> None:
        """`digests`: 16 bytes for each ordinal."""
        entries = np.empty(len(ordinals), dtype=_ENTRY)
        halves = np.frombuffer(digests, dtype="<u8").reshape(-1, 2)
        entries["high"], entries["low"], entries["ordinal"] = halves[:, 0], halves[:, 1], ordinals
        self._parts.append(entries)
        self._count += len(entries)
        if self._count >= _IN_MEMORY:
            self._spill()

    def repeats(self, without: np.ndarray) -> np.ndarray:
        """The ordinals of all records whose key an earlier record has, rising; forgets everything.

        The records whose ordinals are in `without`, which rise, do not count.
        """
        if not self._buckets:
            found = [_repeats(np.concatenate(self._parts), without)] if self._parts else []
        else:
            self._spill()
            found = []
            for bucket in self._buckets:
                bucket.seek(0)
                found.append(_repeats(np.frombuffer(bucket.read(), dtype=_ENTRY), without))
                bucket.close()
        self._parts, self._buckets, self._count = [], [], 0
        return np.sort(np.concatenate(found)) if found else np.empty(0, dtype=np.int64)

    def _spill(self) -> None:
        if not self._parts:
            return
        if not self._buckets:
            self._buckets = [_bucket() for _ in range(_BUCKETS)]
        entries = np.concatenate(self._parts)
        numbers = entries["low"] % _BUCKETS
        entries = entries[np.argsort(numbers, kind="stable")]
        ends = np.cumsum(np.bincount(numbers.astype(np.int64), minlength=_BUCKETS))
        for bucket, part in zip(self._buckets, np.split(entries, ends[:-1])):
            bucket.write(part.tobytes())
        self._parts, self._count = [], 0


def _bucket() -> IO[bytes]:
    return cast(IO[bytes], tempfile.TemporaryFile())  # closed by whoever reads it back


def _repeats(entries: np.ndarray, without: np.ndarray) -> np.ndarray:
    """The ordinals of all but the first of equal keys; entries come in the order of their ordinals."""
    if len(without):
        at = np.minimum(np.searchsorted(without, entries["ordinal"]), len(without) - 1)
        entries = entries[without[at] != entries["ordinal"]]
    order = np.lexsort((entries["low"], entries["high"]))  # stable, as lexsort is
    entries = entries[order]
    same = (entries["high"][1:] == entries["high"][:-1]) & (entries["low"][1:] == entries["low"][:-1])
    return np.asarray(entries["ordinal"][1:][same])


class Duplicates:
    """For each `duplicates` rule the records that repeat an earlier one."""

    def __init__(self, found: Mapping[str, np.ndarray], starts: Mapping[str, int]) -> None:
        self._found = found
        self._starts = starts  # by source: the ordinal before the object's first record

    def flags(self, one: InputObject, batch: Batch) -> dict[str, np.ndarray]:
        """For each rule by name, which records of the batch are repeats."""
        if not self._found:
            return {}
        first = self._starts[one.source] + batch.first
        flags = {}
        for name, ordinals in self._found.items():
            low, high = np.searchsorted(ordinals, (first, first + len(batch.rows)))
            flags[name] = np.zeros(len(batch.rows), dtype=bool)
            flags[name][ordinals[low:high] - first] = True
        return flags


def find_duplicates(config: Config, objects: Iterable[InputObject]) -> Duplicates:
    """Read all objects of the run for their keys; nothing is read when no rule asks for it."""
    if all(rule.kind != "duplicates" for rule in config.rules):
        return Duplicates({}, {})
    keys = _Keys(config)
    starts: dict[str, int] = {}
    ordinal = 0
    for one in objects:
        starts[one.source] = ordinal
        for layout, batch in read_batches(one, config.input):
            keys.add(layout, batch, starts[one.source])
            ordinal = starts[one.source] + batch.first + len(batch.rows) - 1
    return Duplicates(keys.repeats(), starts)


class _Keys:
    """The keys of the records that passed what stands before each `duplicates` rule."""

    def __init__(self, config: Config) -> None:
        self._source = config.input
        last = max(at for at, rule in enumerate(config.rules) if rule.kind == "duplicates")
        self._rules = config.rules[: last + 1]
        self._checks = {
            rule.name: compile_rule(rule, config.input)[0]
            for rule in self._rules
            if rule.kind != "duplicates"
        }
        self._seen = {rule.name: Seen() for rule in self._rules if rule.kind == "duplicates"}
        self._judges = self._must_judge()

    def _must_judge(self) -> bool:
        """Whether records of one key may fare differently before their rule: else all of them count, or none does."""
        read = {column.name for column in self._source.columns if column.numeric}
        for rule in self._rules:
            if rule.kind != "duplicates":
                read.update(rule.columns)
            elif not read.issubset(rule.columns):
                return True
        return False

    def add(self, layout: Layout, batch: Batch, start: int) -> None:
        """Take the keys of a batch; `start` is the ordinal before its object's first record."""
        if layout.names is None:
            return
        names = layout.names
        odd = {**unreadable(batch), **batch.broken}
        fit = [index for index, row in enumerate(batch.rows) if len(row) == len(names) and index not in odd]
        if not fit:
            return
        rows = batch.rows if len(fit) == len(batch.rows) else [batch.rows[index] for index in fit]
        ordinals = start + batch.first + np.array(fit, dtype=np.int64)
        passed = np.ones(len(rows), dtype=bool)
        if self._judges:
            table, failed = typed_table(self._source, names, rows)
            cells: Mapping[str, Sequence[str]] = table.cells
            passed[list(failed)] = False
        else:
            cells = dict(zip(names, zip(*rows)))
        absent = ("",) * len(rows)
        for rule in self._rules:
            if rule.kind != "duplicates":
                if self._judges:
                    passed &= ~self._checks[rule.name](table)
                continue
            # NUL separates: a record that holds one is not readable and does not come here.
            keys: Iterable[str] = map("\0".join, zip(*(cells.get(name, absent) for name in rule.columns)))
            if not passed.all():
                keys = compress(keys, passed.tolist())
            digests = b"".join([blake2b(key.encode("utf-8"), digest_size=16).digest() for key in keys])
            self._seen[rule.name].add(digests, ordinals[passed])

    def repeats(self) -> dict[str, np.ndarray]:
        """For each rule by name the ordinals of the repeats, which then do not count for the rules behind it."""
        found: dict[str, np.ndarray] = {}
        gone = np.empty(0, dtype=np.int64)
        for name, seen in self._seen.items():
            found[name] = seen.repeats(gone)
            gone = np.union1d(gone, found[name])
        return found
