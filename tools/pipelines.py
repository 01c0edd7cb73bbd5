"""Reads and checks the pipeline files of this repository; prepares an empty AWS for them.

An invalid file affects its own pipeline only. `make check` prints what is wrong.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from batch_inference.common.errors import PipelineError
from batch_inference.config.pipeline import Pipeline, load_pipeline
from batch_inference.config.pipeline_files import PIPELINES_FOLDER
from tools.laptop.sample import create_buckets, upload_sample


def read_pipelines(folder: Path = PIPELINES_FOLDER) -> Iterator[Pipeline | PipelineError]:
    """Each file's pipeline or its error, in order of file names."""
    for path in sorted(folder.glob("*.yaml")):
        try:
            yield load_pipeline(path)
        except PipelineError as error:
            yield error


def prepare_buckets(client: Any, sample_dir: Path, folder: Path = PIPELINES_FOLDER) -> None:
    """Create the buckets of all valid pipelines and upload the sample of `sample_dir`, generated if absent."""
    for pipeline in read_pipelines(folder):
        if isinstance(pipeline, PipelineError):
            print(f"pipeline skipped: {pipeline}", file=sys.stderr, flush=True)
            continue
        create_buckets(client, pipeline)
        upload_sample(client, pipeline, sample_dir)


def main(folder: Path = PIPELINES_FOLDER) -> int:
    """Print the error of each invalid file; the exit status."""
    errors = [result for result in read_pipelines(folder) if isinstance(result, PipelineError)]
    for error in errors:
        print(error, file=sys.stderr)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
