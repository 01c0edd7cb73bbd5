"""The records of one input object, batch by batch, each batch with the layout that holds for it."""

from __future__ import annotations

from typing import Iterator

from include.jobs.config import Input
from include.jobs.csv_records import Batch, CsvRecords
from include.jobs.layout import Layout, first_layout, header_layout
from include.jobs.objects import InputObject, open_text, reading


def read_batches(one: InputObject, source: Input) -> Iterator[tuple[Layout, Batch]]:
    """The object's records; raises InputError, naming the object, when it is not what the pipeline says."""
    layout = first_layout(source)
    with reading(one, source), open_text(one, source) as lines:
        records = CsvRecords(lines, source.delimiter)
        if source.header:
            header = records.take_header()
            if header is None:
                return
            layout = header_layout(header, source, one.source)
        for batch in records.batches():
            if layout.names is None:
                layout = layout.settled_by(
                    [row for index, row in enumerate(batch.rows) if index not in batch.broken], source
                )
            yield layout, batch
