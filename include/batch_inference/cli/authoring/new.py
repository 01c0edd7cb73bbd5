"""`batch-inference new`: a pipeline's YAML file, of a sample of its input or of an example, and a DAG file."""

from __future__ import annotations

import json
import os
import re
import shlex
import string
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from batch_inference.cli.project import Project, convert_path, find_local_path, find_project
from batch_inference.common.s3_uri import is_s3_uri, split_s3_uri
from batch_inference.config.inheritance import DEFAULTS_NAME
from batch_inference.config.pipeline_files import load_pipeline_by_id
from batch_inference.config.yaml_loader import read_yaml

TEMPLATES = Path(__file__).with_name("templates")
#: What a pipeline file needs and defaults of a folder may have, with the comment of its line.
SHARED = {
    "role": ("arn:aws:iam::123456789012:role/batch-inference", "execution role of the SageMaker jobs"),
    "work": ("s3://my-bucket/work", "prefix for the shards, rejects and report of each run"),
}
EXAMPLE_INPUT = """\
  format: csv
  header: true
  columns: # CHANGE: in the order of the file
    - { name: id, type: string }
    - { name: amount, type: float }
"""


@click.command()
@click.argument("name")
@click.option(
    "--from", "source", metavar="PATH", help="CSV, JSON Lines or Parquet: a file, a folder or an S3 prefix"
)
@click.option(
    "--model",
    metavar="PATH",
    callback=convert_path,
    help="with --from: a model of joblib; the features are those that it was fitted on",
)
@click.option("--team", metavar="FOLDER", help="folder below the pipelines folder; the DAG is FOLDER.NAME")
@click.option("--header/--no-header", default=None, help="whether CSV has a header; default: detected")
@click.option("--endpoint-url", metavar="URL", help="with an S3 prefix: of the embedded AWS; default: AWS")
def command(
    name: str,
    source: str | None,
    model: Path | None,
    team: str | None,
    header: bool | None,
    endpoint_url: str | None,
) -> None:
    """Write the pipeline file NAME.yaml, and a DAG file for it if none builds all pipelines of the folder.

    With --from, columns, types and format are those of a sample of the input. Every guess is printed.

    \b
    batch-inference new churn --from customers.csv
    batch-inference new churn --from customers.csv --model model.joblib
    batch-inference new churn --team risk --from s3://my-bucket/customers/
    """
    for what, text in (("name", name), ("team", team)):
        if text is not None and not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", text):
            raise click.UsageError(
                f"found the {what} {text!r}; allowed are lower-case letters, digits and _, a letter first, at most 40 "
                "characters: batch-inference new churn"
            )
    if model is not None and source is None:
        raise click.UsageError("--model needs --from: the features are columns of a sample")
    project = find_project()
    folder = project.pipelines_folder / team if team else project.pipelines_folder
    targets = {"pipeline.yaml.tmpl": folder / f"{name}.yaml"}
    if not any("pipeline_dags(" in path.read_text() for path in (project.root / "dags").glob("*.py")):
        targets["dag.py.tmpl"] = project.root / "dags" / f"{f'{team}_' if team else ''}{name}.py"
    for target in targets.values():
        if target.exists():
            raise click.UsageError(
                f"{target.relative_to(project.root)} already exists; it was not overwritten"
            )
    guesses: list[str] = []
    values = {"name": name, "id": f"{team}.{name}" if team else name, **_describe_example()}
    if source is not None:
        values |= _describe_source(source, model, header, endpoint_url, guesses)
    values |= _describe_project(project, folder)
    folder.mkdir(exist_ok=True)
    for template, target in targets.items():
        target.write_text(
            string.Template((TEMPLATES / template).read_text()).substitute(values), encoding="utf-8"
        )
        click.echo(f"wrote {target.relative_to(project.root)}")
    load_pipeline_by_id(values["id"], project.pipelines_folder)
    if guesses:
        click.echo("Guesses to look at:\n" + "\n".join(f"  - {guess}" for guess in guesses))
    changes = [
        line.split(":")[0].strip()
        for line in targets["pipeline.yaml.tmpl"].read_text(encoding="utf-8").splitlines()[4:]
        if "# CHANGE" in line
    ]
    reads_s3 = source is not None and is_s3_uri(source)
    if reads_s3 and endpoint_url is not None:
        conf = json.dumps({"input_uri": source})
        reads = f"--endpoint-url {endpoint_url} --conf {shlex.quote(conf)}"
    else:
        reads = f"--input {'FILE' if source is None or reads_s3 else shlex.quote(source)}"
    model_file = shlex.quote(str(model or "MODEL_FILE"))
    click.echo(
        f"Lines marked CHANGE need your own value on AWS: {', '.join(changes)}. Next, on this machine:\n"
        f"  batch-inference run {values['id']} {reads} --model {model_file} --output scored/"
    )


def _describe_project(project: Project, folder: Path) -> dict[str, str]:
    """The lines of keys that no defaults above the file set; the bucket, of `work` where defaults set that."""
    inherited: dict[str, Any] = {}
    for each in dict.fromkeys((project.pipelines_folder, folder)):
        defaults = each / DEFAULTS_NAME
        if defaults.exists():
            inherited |= read_yaml(defaults).value or {}
    lines = [
        f"{key}: {value} # CHANGE: {text}\n" for key, (value, text) in SHARED.items() if key not in inherited
    ]
    depth = len(folder.relative_to(project.pipelines_folder).parts)
    return {
        "shared": "".join(lines),
        "bucket": split_s3_uri(str(inherited.get("work", SHARED["work"][0])))[0],
        "folder": os.path.relpath(project.pipelines_folder, project.root / "dags"),
        "schema": "../" * depth + "pipeline.schema.json",
    }


def _describe_example() -> dict[str, str]:
    return {
        "sampled": "",
        "input": EXAMPLE_INPUT,
        "rules": "\nrules: # CHANGE: a record that breaks a rule is rejected, with the reason\n"
        "  - { rule: required, columns: [amount] }\n",
        "features": "    - amount\n",
    }


def _describe_source(
    source: str, model: Path | None, header: bool | None, endpoint_url: str | None, guesses: list[str]
) -> dict[str, str]:
    """The parts of the file that follow from a sample and perhaps a model; appends to `guesses`."""
    from batch_inference.cli.authoring.input_sample import (
        download_sample,
        iter_guesses,
        list_sample_files,
        sample_input,
    )
    from batch_inference.cli.models.model import read_features

    with tempfile.TemporaryDirectory() as scratch:
        if not is_s3_uri(source):
            folder = find_local_path(source, "--from")
        else:
            from batch_inference.cli.aws.upload import create_client

            folder = Path(scratch)
            download_sample(create_client("s3", endpoint_url), source, folder)
        sample = sample_input(list_sample_files(folder), header=header)
    guesses.extend(iter_guesses(sample))
    numbers = [
        column.name
        for column in sample.columns
        if column.type in ("integer", "float", "boolean") or column.type.startswith("decimal")
    ]
    required = {column.name: column for column in sample.columns if not column.is_optional}
    # A record is a line of the model's input, so a text with line breaks cannot be sent.
    lines = [name for name, column in required.items() if not column.has_line_breaks]
    features = (
        [name for name in numbers if name in required and name != sample.id_column] or lines or [*required]
    )
    fitted = None if model is None else read_features(model, sys.executable)[0]
    if fitted is not None:
        if absent := [name for name in fitted if name not in required]:
            raise click.UsageError(
                f"{model} was fitted on {', '.join(fitted)}; {source} does not have {', '.join(absent)} in each file"
            )
        features = fitted
    elif model is not None:
        guesses.append(f"features: {model} does not name those that it was fitted on")
    others = [name for name in required if name not in features and name != sample.id_column]
    if others and fitted is None:
        guesses.append(f"not in features, since the model may not take text or dates: {', '.join(others)}")
    if not lines:
        guesses.append(
            "features: every column has line breaks, and records with line breaks in features are rejected"
        )
    rules = ""
    if sample.id_column is not None:
        line = f"{{ rule: required, columns: [{_quote(sample.id_column)}] }} # the id, by its name and values"
        rules = f"\nrules:\n  - {line}\n"
    return {
        "sampled": f"\n# Columns and types are guessed from {sample.extent} of {Path(source).name or source}.",
        "input": "".join(f"  {line}\n" for line in _list_input_lines(sample)),
        "rules": rules,
        "features": "".join(f"    - {_quote(name)}\n" for name in features),
    }


def _list_input_lines(sample: Any) -> Iterator[str]:
    yield f"format: {sample.format}"
    if sample.format == "csv":
        yield f"header: {str(sample.header).lower()}"
        if sample.delimiter != ",":
            yield f"delimiter: {json.dumps(sample.delimiter)}"
        if sample.escape is not None:
            yield f"escape: {json.dumps(sample.escape)}"
    if sample.encoding != "utf-8":
        yield f"encoding: {sample.encoding}"
    if sample.compression != "none":
        yield f"compression: {sample.compression}"
    yield "columns: # in the order of the file"
    for column in sample.columns:
        kind = _quote(column.type) if "," in column.type else column.type
        optional = ", optional: true" if column.is_optional else ""
        notes = [
            *([column.note] if column.note else []),
            *([f"{column.empty_count:,} of {sample.record_count:,} empty"] if column.empty_count else []),
        ]
        comment = f" # {'; '.join(notes)}" if notes else ""
        yield f"  - {{ name: {_quote(column.name)}, type: {kind}{optional} }}{comment}"


def _quote(text: str) -> str:
    """A text as YAML reads it back: plain where that is safe, else in double quotes."""
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text, re.ASCII) is not None
    return text if plain and text.lower() not in ("true", "false", "null") else json.dumps(text)
