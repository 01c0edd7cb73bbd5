"""The objects of a run as SageMaker's ManifestFile, written while they are listed: a listing may hold millions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TextIO

from include.scoring.listing import LINES_AT_A_TIME, S3Object
from include.scoring.requests import source_folder
from include.scoring.s3uri import split


def noted_in_manifest(input_uri: str, objects: Iterable[S3Object], file: TextIO) -> Iterator[S3Object]:
    """The objects, each written into `file` as it passes: a prefix, then keys relative to it, as one JSON list.

    Empty objects are left out of the file. `input_uri` is a raw string prefix; the manifest's prefix ends with its last
    slash, so that names stay whole. The file is complete once the last object has been taken.
    """
    prefix = source_folder(input_uri)
    start = len(split(prefix)[1])
    file.write(f"[{json.dumps({'prefix': prefix}, ensure_ascii=False)}")
    passing = iter(objects)
    while batch := list(islice(passing, LINES_AT_A_TIME)):
        names = [key[start:] for key, size, _ in batch if size > 0]
        if names:
            # One call for all of them is five times as fast as one for each.
            file.write(",\n" + json.dumps(names, ensure_ascii=False, separators=(",\n", ":"))[1:-1])
        yield from batch
    file.write("]\n")
