"""Running the preprocess job as SageMaker does: a process of its own in a folder laid out as a container."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from batch_inference.config.sections.feature_preparation import (
    ColumnBaseline,
    ImputeStep,
    build_job_imputations,
    build_job_rules,
)
from batch_inference.config.sections.record_rules import Rule

ROOT = Path(__file__).resolve().parents[3] / "include"
# Another interpreter for the job than for the tests: the containers of AWS have older ones.
JOBS_PYTHON = os.environ.get("JOBS_PYTHON") or sys.executable
ABALONE = (
    "sex",
    "length",
    "diameter",
    "height",
    "whole_weight",
    "shucked_weight",
    "viscera_weight",
    "shell_weight",
)
REAL_ABALONE = ROOT.parents[1] / "shared" / "data" / "abalone.csv"


def columns(**types: str) -> list[dict[str, Any]]:
    """Columns by keyword; a type that ends with `?` is optional."""
    return [
        {"name": name, "type": kind.rstrip("?"), **({"optional": True} if kind.endswith("?") else {})}
        for name, kind in types.items()
    ]


def abalone_columns() -> list[dict[str, Any]]:
    numbers = dict.fromkeys(ABALONE[1:], "float")
    return columns(sex="string", **numbers, rings="integer?")


def config(
    columns: list[dict[str, Any]],
    *,
    rules: Sequence[dict[str, Any]] = (),
    impute: Sequence[dict[str, Any]] = (),
    baseline: Mapping[str, dict[str, Any]] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """A preprocess.json for these columns; rules, impute and baseline are those of a pipeline file.

    Keys of `input` may be given as input_<key>.
    """
    stored = TypeAdapter(dict[str, ColumnBaseline]).validate_python(baseline or {})
    types = {column["name"]: column["type"] for column in columns}
    source = {"format": "csv", "header": False, "delimiter": ",", "encoding": "utf-8", "compression": "none"}
    for key in [key for key in changes if key.startswith("input_") and key != "input_uri"]:
        source[key[len("input_") :]] = changes.pop(key)
    features = [column["name"] for column in columns if not column.get("optional")]
    return {
        "version": 1,
        "pipeline": "test",
        "input_uri": "s3://bucket/in/",
        "distribution": "FullyReplicated",
        "input": {**source, "columns": columns},
        "rules": build_job_rules(TypeAdapter(tuple[Rule, ...]).validate_python(rules), list(types), stored),
        "imputations": build_job_imputations(
            TypeAdapter(tuple[ImputeStep, ...]).validate_python(impute), types, stored
        ),
        "feature_columns": features,
        "shard_bytes": 1_000_000,
        **changes,
    }


@dataclass
class ContainerResult:
    """What one host's run left behind; `error` is the class that its exit message begins with, or empty."""

    exit_code: int
    error: str
    message: str
    stderr: str
    output: Path
    host: str = "algo-1"
    manifest: dict[str, Any] = field(default_factory=dict)

    def records(self) -> list[bytes]:
        """The bytes of each records file, in the order of the manifest."""
        return [(self.output / shard["records_key"]).read_bytes() for shard in self.manifest["shards"]]

    def features(self) -> list[bytes]:
        return [(self.output / shard["features_key"]).read_bytes() for shard in self.manifest["shards"]]

    def rejects(self) -> list[dict[str, Any]]:
        return [
            json.loads(line)
            for path in sorted((self.output / "rejects").iterdir())
            for line in path.read_text("utf-8").split("\n")
            if line
        ]


def run_preprocess(
    folder: Path,
    config: Any,
    objects: Mapping[str, bytes],
    *,
    host: str = "algo-1",
    hosts: Sequence[str] = ("algo-1",),
) -> ContainerResult:
    """Run one host's container over `objects` (key below the input prefix → content)."""
    base = folder / host
    put(base / "processing" / "input" / "data", objects)
    document = config if isinstance(config, str) else json.dumps(config)
    put(base / "processing" / "input" / "config", {"preprocess.json": document.encode()})
    return run_job("preprocess", base, host=host, hosts=hosts)


def put(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files below a folder."""
    for key, content in files.items():
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def run_job(
    module: str,
    base: Path,
    *,
    host: str = "algo-1",
    hosts: Sequence[str] = ("algo-1",),
    without: Sequence[str] = (),
) -> ContainerResult:
    """Run a job of batch_inference.jobs in the container at `base`, in which the modules in `without` cannot be
    imported.
    """
    put(
        base / "config",
        {"resourceconfig.json": json.dumps({"current_host": host, "hosts": list(hosts)}).encode()},
    )
    absent = base / "absent"
    put(absent, {f"{name}.py": b"raise ImportError('not in this image')\n" for name in without})
    done = subprocess.run(
        [JOBS_PYTHON, "-m", f"batch_inference.jobs.{module}"],
        cwd=base,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(absent), str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "SAGEMAKER_BASE_DIR": str(base),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    path = base / "output" / "message"
    said = re.fullmatch(r"(?s)(?:(\w+Error): )?(.*)", path.read_text("utf-8") if path.exists() else "")
    assert said is not None
    output = base / "processing" / "output"
    manifest = output / "manifest" / f"{host}.json"
    return ContainerResult(
        exit_code=done.returncode,
        error=said[1] or "",
        message=said[2],
        stderr=done.stderr,
        output=output,
        host=host,
        manifest=json.loads(manifest.read_text("utf-8")) if manifest.exists() else {},
    )
