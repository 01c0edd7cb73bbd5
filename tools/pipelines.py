"""The pipelines of this repository: those that can be used, and what is wrong with the others.

One file with a mistake stops its own pipeline alone. `make check` names what is wrong.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from include.orchestration.pipelines import FOLDER
from include.scoring.config import Pipeline, load_pipeline
from include.scoring.errors import PipelineError
from tools.sample import create_buckets, upload_sample


def read_all(folder: Path = FOLDER) -> Iterator[Pipeline | PipelineError]:
    """Each file's pipeline, or what is wrong with it, in order of their names."""
    for path in sorted(folder.glob("*.yaml")):
        try:
            yield load_pipeline(path)
        except PipelineError as error:
            yield error


def prepare(client: Any, sample: Path, folder: Path = FOLDER) -> None:
    """Give an empty AWS the buckets of all pipelines, and the sample in `sample`, made if need be."""
    for pipeline in read_all(folder):
        if isinstance(pipeline, PipelineError):
            print(f"left out: {pipeline}", file=sys.stderr, flush=True)
            continue
        create_buckets(client, pipeline)
        upload_sample(client, pipeline, sample)


def main(folder: Path = FOLDER) -> int:
    """Say what is wrong with each file; the exit status."""
    wrong = [found for found in read_all(folder) if isinstance(found, PipelineError)]
    for error in wrong:
        print(error, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
