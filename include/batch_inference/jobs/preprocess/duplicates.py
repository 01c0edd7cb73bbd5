"""Finds records that repeat an earlier one, over all objects of the run, in bounded memory.

Each host reads all objects in the same order and so finds the same repeats without communication between hosts.
Keys are compared by 128 bits of their BLAKE2b digest. Only records that passed the rules before a `duplicates` rule
count for it: so these rules are evaluated here too, unless the columns of the key determine their outcome.
"""

from __future__ import annotations

import tempfile
from hashlib import blake2b
from itertools import compress
from typing import IO, Iterable, Mapping, Sequence, cast

import numpy as np

from batch_inference.jobs.config.preprocess_config import PreprocessConfig
from batch_inference.jobs.preprocess.objects import InputObject
from batch_inference.jobs.preprocess.readers.batch import Batch
from batch_inference.jobs.preprocess.record_validator import build_table, find_undecodable_records
from batch_inference.jobs.preprocess.rules import compile_rule
from batch_inference.jobs.preprocess.source import ColumnNames, read_batches

_ENTRY = np.dtype([("high", "<u8"), ("low", "<u8"), ("ordinal", "<i8")])
_IN_MEMORY = 1 << 20  # entries kept in memory before they are written to buckets on disk
_BUCKETS = 256


class KeyStore:
    """Digests of keys with the ordinals of their records. Ordinals must be added in ascending order."""

    def __init__(self) -> None:
        self._parts: list[np.ndarray] = []
        self._count = 0
        self._buckets: list[IO[bytes]] = []

    def add(self, digests: bytes, ordinals: np.ndarray) -> None:
        """Add keys; `digests` has 16 bytes for each ordinal."""
        entries = np.empty(len(ordinals), dtype=_ENTRY)
        halves = np.frombuffer(digests, dtype="<u8").reshape(-1, 2)
        entries["high"], entries["low"], entries["ordinal"] = halves[:, 0], halves[:, 1], ordinals
        self._parts.append(entries)
        self._count += len(entries)
        if self._count >= _IN_MEMORY:
            self._spill()

    def pop_repeats(self, excluded_ordinals: np.ndarray) -> np.ndarray:
        """Find the ordinals, ascending, of all records whose key an earlier record has; clears the store.

        Records whose ordinals are in `excluded_ordinals` (ascending) do not count.
        """
        if not self._buckets:
            found = [_find_repeats(np.concatenate(self._parts), excluded_ordinals)] if self._parts else []
        else:
            self._spill()
            found = []
            for bucket in self._buckets:
                bucket.seek(0)
                found.append(_find_repeats(np.frombuffer(bucket.read(), dtype=_ENTRY), excluded_ordinals))
                bucket.close()
        self._parts, self._buckets, self._count = [], [], 0
        return np.sort(np.concatenate(found)) if found else np.empty(0, dtype=np.int64)

    def _spill(self) -> None:
        if not self._parts:
            return
        if not self._buckets:
            self._buckets = [_open_bucket() for _ in range(_BUCKETS)]
        entries = np.concatenate(self._parts)
        numbers = entries["low"] % _BUCKETS
        entries = entries[np.argsort(numbers, kind="stable")]
        ends = np.cumsum(np.bincount(numbers.astype(np.int64), minlength=_BUCKETS))
        for bucket, part in zip(self._buckets, np.split(entries, ends[:-1])):
            bucket.write(part.tobytes())
        self._parts, self._count = [], 0


def _open_bucket() -> IO[bytes]:
    return cast(IO[bytes], tempfile.TemporaryFile())  # closed by pop_repeats


def _find_repeats(entries: np.ndarray, without: np.ndarray) -> np.ndarray:
    """Find the ordinals of all but the first of equal keys; entries are in the order of their ordinals."""
    if len(without):
        at = np.minimum(np.searchsorted(without, entries["ordinal"]), len(without) - 1)
        entries = entries[without[at] != entries["ordinal"]]
    order = np.lexsort((entries["low"], entries["high"]))  # stable, as lexsort is
    entries = entries[order]
    same = (entries["high"][1:] == entries["high"][:-1]) & (entries["low"][1:] == entries["low"][:-1])
    return np.asarray(entries["ordinal"][1:][same])


class Duplicates:
    """The records that repeat an earlier one, for each `duplicates` rule."""

    def __init__(self, found: Mapping[str, np.ndarray], starts: Mapping[str, int]) -> None:
        self._found = found
        self._starts = starts  # by URI: the ordinal before the object's first record

    def flag_repeats(self, input_object: InputObject, batch: Batch) -> dict[str, np.ndarray]:
        """Flag the repeats in a batch, for each rule by name."""
        if not self._found:
            return {}
        first = self._starts[input_object.uri] + batch.first_record
        flags = {}
        for name, ordinals in self._found.items():
            low, high = np.searchsorted(ordinals, (first, first + len(batch.rows)))
            flags[name] = np.zeros(len(batch.rows), dtype=bool)
            flags[name][ordinals[low:high] - first] = True
        return flags


def find_duplicates(config: PreprocessConfig, objects: Iterable[InputObject]) -> Duplicates:
    """Find the repeats over all objects of the run. Reads nothing if the pipeline has no `duplicates` rule."""
    if all(rule.kind != "duplicates" for rule in config.rules):
        return Duplicates({}, {})
    keys = _KeyCollector(config)
    starts: dict[str, int] = {}
    ordinal = 0
    for one in objects:
        starts[one.uri] = ordinal
        for names, batch in read_batches(one, config.input):
            keys.add(names, batch, starts[one.uri])
            ordinal = starts[one.uri] + batch.first_record + len(batch.rows) - 1
    return Duplicates(keys.find_repeats(), starts)


class _KeyCollector:
    """Collects the keys of the records that passed the rules before each `duplicates` rule."""

    def __init__(self, config: PreprocessConfig) -> None:
        self._source = config.input
        last = max(at for at, rule in enumerate(config.rules) if rule.kind == "duplicates")
        self._rules = config.rules[: last + 1]
        self._checks = {
            rule.name: compile_rule(rule, config.input)[0]
            for rule in self._rules
            if rule.kind != "duplicates"
        }
        self._seen = {rule.name: KeyStore() for rule in self._rules if rule.kind == "duplicates"}
        self._is_validating = self._must_validate()

    def _must_validate(self) -> bool:
        """Whether earlier rules may reject one record of a key and pass another; if not, all of them count, or none."""
        read = {column.name for column in self._source.columns if column.is_numeric}
        for rule in self._rules:
            if rule.kind != "duplicates":
                read.update(rule.columns)
            elif not read.issubset(rule.columns):
                return True
        return False

    def add(self, names: ColumnNames, batch: Batch, start: int) -> None:
        """Add the keys of a batch; `start` is the ordinal before its object's first record."""
        if names is None:
            return
        not_readable = {**find_undecodable_records(batch), **batch.malformed}
        readable = [
            index
            for index, row in enumerate(batch.rows)
            if len(row) == len(names) and index not in not_readable
        ]
        if not readable:
            return
        rows = batch.rows if len(readable) == len(batch.rows) else [batch.rows[index] for index in readable]
        ordinals = start + batch.first_record + np.array(readable, dtype=np.int64)
        passed = np.ones(len(rows), dtype=bool)
        if self._is_validating:
            table, failed = build_table(self._source, names, rows)
            cells: Mapping[str, Sequence[str]] = table.cells
            passed[list(failed)] = False
        else:
            cells = dict(zip(names, zip(*rows)))
        absent = ("",) * len(rows)
        for rule in self._rules:
            if rule.kind != "duplicates":
                if self._is_validating:
                    passed &= ~self._checks[rule.name](table)
                continue
            # NUL separates the cells: a record that holds NUL is rejected before this.
            keys: Iterable[str] = map("\0".join, zip(*(cells.get(name, absent) for name in rule.columns)))
            if not passed.all():
                keys = compress(keys, passed.tolist())
            digests = b"".join([blake2b(key.encode("utf-8"), digest_size=16).digest() for key in keys])
            self._seen[rule.name].add(digests, ordinals[passed])

    def find_repeats(self) -> dict[str, np.ndarray]:
        """Find the ordinals of the repeats for each rule by name; they do not count for the rules after it."""
        found: dict[str, np.ndarray] = {}
        excluded = np.empty(0, dtype=np.int64)
        for name, seen in self._seen.items():
            found[name] = seen.pop_repeats(excluded)
            excluded = np.union1d(excluded, found[name])
        return found
