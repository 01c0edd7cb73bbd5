"""Scans the parts of objects before they are processed: counts their lines and records, and collects keys."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Iterator, Sequence

import numpy as np

from batch_inference.jobs.config.preprocess_config import PreprocessConfig, Rule
from batch_inference.jobs.preprocess.duplicates import KeyCollector, iter_entries, select_duplicates_rules
from batch_inference.jobs.preprocess.objects import RECORD_BITS, InputObject, ObjectPart
from batch_inference.jobs.preprocess.readers.batch import Batch
from batch_inference.jobs.preprocess.readers.csv_batches import RecordContinuesError
from batch_inference.jobs.preprocess.source import ColumnNames, PartReader, check_members, combine_batches


@dataclass
class PartScan:
    """What was found in a part of an object.

    Attributes:
        records_before: how many records of the object come before it, of those that were scanned with it.
        is_complete: whether the part ends where a record ends.
        unseen_names, seen_members: as in PartReader.
    """

    part: ObjectPart
    records_before: int = 0
    records: int = 0
    lines: int = 0
    is_complete: bool = True
    unseen_names: set[str] = field(default_factory=set)
    seen_members: set[str] = field(default_factory=set)


def scan_partition(parts: Sequence[ObjectPart], config: PreprocessConfig, keys_path: Path) -> list[PartScan]:
    """Scan parts; the keys for each `duplicates` rule are written to `keys_path`, with its index as suffix.

    The records of an object are numbered from its first one among these parts.
    """
    scans: list[PartScan] = []
    with KeyCollector(config, keys_path) as keys:
        for names, batch, _ in combine_batches(_read_parts(parts, config, scans)):
            keys.add(names, batch)
    return scans


def _read_parts(
    parts: Sequence[ObjectPart], config: PreprocessConfig, scans: list[PartScan]
) -> Iterator[tuple[ColumnNames, Batch, None]]:
    """Yield the batches of the parts, and add what was found in each to `scans`."""
    for part in parts:
        is_continued = bool(scans) and scans[-1].part.object == part.object
        scan = PartScan(
            part, records_before=scans[-1].records_before + scans[-1].records if is_continued else 0
        )
        scans.append(scan)
        reader = PartReader(replace(part, records_before=scan.records_before), config.input)
        try:
            for names, batch in reader:
                scan.records += len(batch)
                yield names, batch, None
        except RecordContinuesError:
            scan.is_complete = False
        scan.lines = reader.line_count
        scan.unseen_names, scan.seen_members = reader.unseen_names, reader.seen_members


class InputScan:
    """The scans of all partitions, whose keys lie in files as `scan_partition` wrote them."""

    def __init__(
        self, partitions: Sequence[tuple[Path, Sequence[PartScan]]], config: PreprocessConfig
    ) -> None:
        self._partitions = partitions
        self._config = config
        self._scans = [scan for _, scans in partitions for scan in scans]

    def find_uncuttable_objects(self) -> set[InputObject]:
        """Find the objects that were cut within a record."""
        return {scan.part.object for scan in self._scans if not scan.is_complete}

    @cached_property
    def parts(self) -> list[ObjectPart]:
        """The parts, with how many lines and records of their object come before them.

        Raises:
            InputError: no record of a JSON Lines object that was cut has a column that is not optional.
        """
        parts: list[ObjectPart] = []
        lines = records = 0
        unseen: set[str] = set()
        seen: set[str] = set()
        for scan in self._scans:
            part = scan.part
            if not part.begin:
                lines = records = 0
                unseen, seen = set(self._config.input.column_names), set()
            parts.append(replace(part, lines_before=lines, records_before=records))
            lines, records = lines + scan.lines, records + scan.records
            unseen, seen = unseen & scan.unseen_names, seen | scan.seen_members
            if part.begin and part.end is None and self._config.input.format == "jsonlines":
                check_members(part.object.uri, self._config.input, unseen, seen)
        return parts

    def read_keys(self, rule: Rule) -> Iterator[np.ndarray]:
        """Read the keys that were collected for a rule, once, with the final ordinals of their records.

        Only the first object of a partition may have records in the partition before it.
        """
        suffix = select_duplicates_rules(self._config).index(rule)
        numbered = iter(self.parts)
        for keys_path, scans in self._partitions:
            parts = [next(numbered) for _ in scans]
            path = Path(f"{keys_path}{suffix}")
            with path.open("rb") as file:
                for entries in iter_entries(file):
                    if parts and parts[0].records_before:
                        entries = entries.copy()
                        is_first = entries["ordinal"] >> RECORD_BITS == parts[0].rank
                        entries["ordinal"][is_first] += parts[0].records_before
                    yield entries
            path.unlink()  # so that the disk holds the keys twice, not three times
