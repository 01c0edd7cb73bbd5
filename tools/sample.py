"""Puts tonight's sample data and the sample model where the example pipeline looks for them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from include.scoring.config import Pipeline
from include.scoring.s3uri import split
from tools.laptop import REPO, LaptopError

SAMPLE_ROWS, SAMPLE_SEED = 200_000, 20
#: The pipeline whose sample this is; other pipelines bring their own model.
SAMPLE = "abalone"


def make_sample(folder: Path, *, rows: int = SAMPLE_ROWS, seed: int = SAMPLE_SEED) -> None:
    """Generate data and fit the model below `folder`, once: a finished part is kept.

    Raises:
        LaptopError: when the generator or the fit fails.
    """
    steps = {
        "data": ["generate", "--rows", str(rows), "--seed", str(seed)],
        "model": ["fit"],
    }
    for part, (module, *arguments) in steps.items():
        finished = folder / f"{part}.finished"
        if finished.exists():
            continue
        out = folder / part
        out.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", f"include.samples.{SAMPLE}.{module}", "--out", str(out), *arguments]
        ended = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
        if ended.returncode != 0:
            raise LaptopError(f"the sample's {part} could not be made: {ended.stderr[-800:]}")
        finished.touch()


def buckets_of(pipeline: Pipeline) -> set[str]:
    """The buckets a pipeline names."""
    return {split(uri)[0] for uri in (pipeline.work, pipeline.input.uri, pipeline.output.uri)}


def create_buckets(client: Any, pipeline: Pipeline) -> None:
    """Create the pipeline's buckets; on AWS they exist."""
    for bucket in sorted(buckets_of(pipeline)):
        client.create_bucket(Bucket=bucket)


def upload_folder(client: Any, source: Path, prefix: str) -> None:
    """Upload a file, or the files of a folder, below `prefix`."""
    bucket, key = split(prefix)
    files = [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.is_file())
    root = source.parent if source.is_file() else source
    for path in files:
        client.upload_file(str(path), bucket, f"{key}{path.relative_to(root).as_posix()}")


def upload_sample(client: Any, pipeline: Pipeline, folder: Path, *, data: bool = True) -> None:
    """Make the sample if need be, and upload its model and (unless the user brings an input) its data."""
    if pipeline.name != SAMPLE:
        return
    make_sample(folder)
    if data:
        upload_folder(client, folder / "data", pipeline.input.uri)
    for container in pipeline.model.containers or ():
        if container.model_data:
            bucket, key = split(container.model_data)
            client.upload_file(str(folder / "model" / Path(key).name), bucket, key)
