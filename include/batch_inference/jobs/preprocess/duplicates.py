"""Finds records that repeat an earlier one, over all objects of the run, in bounded memory.

Keys are compared by 128 bits. Each host digests the keys of its own records; a key belongs to the host that its digest
names, which gets it from all others (24 bytes a record) and answers with the repeats (8 bytes a repeat). Only records
that passed the rules before a `duplicates` rule count for it: so these rules are evaluated here too, unless the columns
of the key determine their outcome.
"""

from __future__ import annotations

import json
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Callable, Iterable, Iterator, Mapping, Sequence, cast

import numpy as np

from batch_inference.jobs.common.byte_ranges import ByteCells
from batch_inference.jobs.config.preprocess_config import PreprocessConfig, Rule
from batch_inference.jobs.preprocess.key_digests import KeyDigester
from batch_inference.jobs.preprocess.objects import RECORD_BITS
from batch_inference.jobs.preprocess.peers import Peers
from batch_inference.jobs.preprocess.readers.batch import Batch
from batch_inference.jobs.preprocess.record_validator import build_mask, build_table
from batch_inference.jobs.preprocess.rules import compile_rule
from batch_inference.jobs.preprocess.source import ColumnNames

_SENT = np.dtype([("high", "<u8"), ("low", "<u8"), ("ordinal", "<i8")])
_STORED = np.dtype([*_SENT.descr, ("source", "<u2")])
_IN_MEMORY = 1 << 20  # entries kept in memory before they are written to buckets on disk
_BUCKETS = 256


class KeyStore:
    """Digests of keys with the ordinals of their records, and the index of the host that each came from."""

    def __init__(self) -> None:
        self._parts: list[np.ndarray] = []
        self._count = 0
        self._buckets: list[IO[bytes]] = []

    def add(self, sent: np.ndarray, source: int) -> None:
        """Add keys that a host sent."""
        entries = np.empty(len(sent), dtype=_STORED)
        for name in _SENT.names or ():
            entries[name] = sent[name]
        entries["source"] = source
        self._parts.append(entries)
        self._count += len(entries)
        if self._count >= _IN_MEMORY:
            self._spill()

    def pop_repeats(self) -> Iterator[np.ndarray]:
        """Yield the entries of all records whose key an earlier record has, in parts; clears the store."""
        if self._buckets:
            self._spill()
        for entries in self._iter_buckets():
            yield _find_repeats(entries)
        self._parts, self._buckets, self._count = [], [], 0

    def _iter_buckets(self) -> Iterator[np.ndarray]:
        if not self._buckets and self._parts:
            yield np.concatenate(self._parts)
        for bucket in self._buckets:
            bucket.seek(0)
            yield np.frombuffer(bucket.read(), dtype=_STORED)
            bucket.close()

    def _spill(self) -> None:
        if not self._parts:
            return
        if not self._buckets:
            self._buckets = [open_temporary_file() for _ in range(_BUCKETS)]
        for bucket, part in zip(self._buckets, _split(np.concatenate(self._parts), "low", _BUCKETS)):
            bucket.write(part.tobytes())
        self._parts, self._count = [], 0


def open_temporary_file() -> IO[bytes]:
    """Open a file that exists until it is closed."""
    return cast(IO[bytes], tempfile.TemporaryFile())


def _split(entries: np.ndarray, column: str, count: int) -> list[np.ndarray]:
    """Split entries by a column of their digest into `count` parts."""
    if count == 1:
        return [entries]
    numbers = (entries[column] % np.uint64(count)).astype(np.uint16)  # which numpy sorts by radix
    ends = np.cumsum(np.bincount(numbers, minlength=count))
    return np.split(entries[np.argsort(numbers, kind="stable")], ends[:-1])


def _find_repeats(entries: np.ndarray) -> np.ndarray:
    """Find all but the first of entries with equal keys."""
    high = np.sort(entries["high"])
    shared = np.unique(high[1:][high[1:] == high[:-1]])
    if not len(shared):
        return entries[:0]
    at = np.minimum(np.searchsorted(shared, entries["high"]), len(shared) - 1)
    entries = entries[shared[at] == entries["high"]]
    entries = entries[np.lexsort((entries["ordinal"], entries["low"], entries["high"]))]
    same = (entries["high"][1:] == entries["high"][:-1]) & (entries["low"][1:] == entries["low"][:-1])
    return np.asarray(entries[1:][same])


class Duplicates:
    """The records that repeat an earlier one, by their ordinals, ascending, for each `duplicates` rule."""

    def __init__(self, found: Mapping[str, np.ndarray]) -> None:
        self._found = found

    def select(self, ranks: Sequence[int]) -> Duplicates:
        """Select those of the objects from the first to the last of these ranks."""
        bounds = [ranks[0] << RECORD_BITS, (ranks[-1] + 1) << RECORD_BITS] if ranks else [0, 0]
        return Duplicates(
            {
                name: ordinals[slice(*np.searchsorted(ordinals, bounds).tolist())]
                for name, ordinals in self._found.items()
            }
        )

    def flag_repeats(self, batch: Batch) -> dict[str, np.ndarray]:
        """Flag the repeats in a batch, for each rule by name."""
        flags = {}
        for name, ordinals in self._found.items():
            flags[name] = np.zeros(len(batch), dtype=bool)
            if len(ordinals):
                at = np.minimum(np.searchsorted(ordinals, batch.ordinals), len(ordinals) - 1)
                flags[name] = ordinals[at] == batch.ordinals
        return flags


def rank_objects(uris: Sequence[str], peers: Peers) -> list[int]:
    """Rank this host's objects, given in the order of their keys, among those of all hosts.

    Raises:
        JobError: a host breaks off.
    """
    if len(peers.hosts) == 1:
        return list(range(len(uris)))
    outgoing = [open_temporary_file() for _ in peers.hosts]
    for file in outgoing:
        file.write(json.dumps(uris).encode("ascii"))
    everywhere = [uri for file in _exchange(peers, outgoing) for uri in json.loads(file.read())]
    everywhere.sort(key=lambda uri: uri.encode("utf-8", "surrogateescape"))
    ranks = {uri: rank for rank, uri in enumerate(everywhere)}
    return [ranks[uri] for uri in uris]


def select_duplicates_rules(config: PreprocessConfig) -> list[Rule]:
    """Select the `duplicates` rules."""
    return [rule for rule in config.rules if rule.kind == "duplicates"]


def find_duplicates(
    rules: Sequence[Rule], read_keys: Callable[[Rule], Iterable[np.ndarray]], peers: Peers
) -> Duplicates:
    """Find the repeats among the records of all hosts; `read_keys` reads what KeyCollector wrote on this one.

    A record that repeats another one by an earlier rule does not count for the rules after it. Raises JobError if a
    host breaks off.
    """
    found: dict[str, np.ndarray] = {}
    excluded = np.empty(0, dtype=np.int64)
    for rule in rules:
        outgoing = [open_temporary_file() for _ in peers.hosts]
        for entries in read_keys(rule):
            if len(excluded):
                at = np.minimum(np.searchsorted(excluded, entries["ordinal"]), len(excluded) - 1)
                entries = entries[excluded[at] != entries["ordinal"]]
            for file, part in zip(outgoing, _split(entries, "high", len(outgoing))):
                file.write(part.tobytes())
        store = KeyStore()
        for source, file in enumerate(_exchange(peers, outgoing)):
            for entries in iter_entries(file):
                store.add(entries, source)
        answers = [open_temporary_file() for _ in peers.hosts]
        for repeats in store.pop_repeats():
            for source, file in enumerate(answers):
                file.write(repeats["ordinal"][repeats["source"] == source].tobytes())
        own = [np.frombuffer(file.read(), dtype="<i8") for file in _exchange(peers, answers)]
        found[rule.name] = np.sort(np.concatenate(own))
        excluded = np.union1d(excluded, found[rule.name])
    return Duplicates(found)


def _exchange(peers: Peers, outgoing: Sequence[IO[bytes]]) -> Iterator[IO[bytes]]:
    """Yield what each host sent, in their order; all files are closed."""
    with ExitStack() as stack:
        for file in outgoing:
            file.seek(0)
            stack.enter_context(file)
        incoming = peers.exchange(outgoing)
        for sent in outgoing:
            if sent not in incoming:
                sent.close()
        for file in incoming:
            yield stack.enter_context(file)


def iter_entries(file: IO[bytes]) -> Iterator[np.ndarray]:
    """Read entries that were written to a file, in parts of bounded size."""
    while data := file.read(_IN_MEMORY // 4 * _SENT.itemsize):
        yield np.frombuffer(data, dtype=_SENT)


class KeyCollector:
    """Writes the keys of records that passed the rules before each `duplicates` rule, to a file for each of these.

    Without such rules it collects nothing. The ordinals are those of the batches.
    """

    def __init__(self, config: PreprocessConfig, path: Path) -> None:
        """The files have the index of their rule among the `duplicates` rules as suffix."""
        self._source = config.input
        kinds = [rule.kind for rule in config.rules]
        self._rules = (
            config.rules[: len(kinds) - kinds[::-1].index("duplicates")] if "duplicates" in kinds else ()
        )
        self._checks = {
            rule.name: compile_rule(rule, config.input)[0]
            for rule in self._rules
            if rule.kind != "duplicates"
        }
        self._open_files = ExitStack()
        self._files: dict[str, IO[bytes]] = {}
        for number, rule in enumerate(select_duplicates_rules(config)):
            self._files[rule.name] = Path(f"{path}{number}").open("wb")  # noqa: SIM115 - closed by __exit__
            self._open_files.enter_context(self._files[rule.name])
        self._digester = KeyDigester(f"{config.nonce} {config.input_uri}".encode())
        self._is_validating = self._must_validate()

    def __enter__(self) -> KeyCollector:
        return self

    def __exit__(self, *_: object) -> None:
        self._open_files.close()

    def _must_validate(self) -> bool:
        """Whether earlier rules may reject one record of a key and pass another; if not, all of them count, or none."""
        read = {column.name for column in self._source.columns if column.is_typed}
        for rule in self._rules:
            if rule.kind != "duplicates":
                read.update(rule.columns)
            elif not read.issubset(rule.columns):
                return True
        return False

    def add(self, names: ColumnNames, batch: Batch) -> None:
        """Add the keys of a batch."""
        if names is None or not self._rules:
            return
        readable = np.flatnonzero(
            (batch.field_counts == len(names)) & build_mask(len(batch), batch.malformed)
        )
        if not len(readable):
            return
        is_plain = batch.is_plain[readable]
        ordinals = batch.ordinals[readable]
        passed = np.ones(len(readable), dtype=bool)
        if self._is_validating:
            table, failed = build_table(self._source, names, batch, readable)
            cells: Mapping[str, ByteCells] = table.cells
            passed[list(failed)] = False
        else:
            starts, ends = batch.select_cells(readable, len(names))
            cells = {
                name: ByteCells(batch.buffer, starts[:, at], ends[:, at]) for at, name in enumerate(names)
            }
        nowhere = np.zeros(len(readable), dtype=np.int64)
        absent = ByteCells(batch.buffer, nowhere, nowhere)
        for rule in self._rules:
            if rule.kind != "duplicates":
                if self._is_validating:
                    passed &= ~self._checks[rule.name](table)
                continue
            columns = [cells.get(name, absent).select(passed) for name in rule.columns]
            digests = self._digester.digest(columns, is_plain[passed], batch.separator)
            entries = np.empty(len(digests), dtype=_SENT)
            entries["high"], entries["low"], entries["ordinal"] = *digests.T, ordinals[passed]
            self._files[rule.name].write(entries.tobytes())
