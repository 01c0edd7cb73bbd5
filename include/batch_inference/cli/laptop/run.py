"""`batch-inference run`: score one input with real Airflow and the embedded AWS, and print the result.

Exit status: 0 if the DAG run succeeded and every record is accounted for, 1 if not, 2 for invalid arguments.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from batch_inference.cli.laptop.environment import (
    LaptopError,
    build_airflow_environment,
    create_s3_client,
    keep_files_private,
    run_embedded_aws,
    start_migration,
    stop_processes,
    wait_for_migration,
)
from batch_inference.cli.laptop.kept_files import (
    KEPT_RUNS,
    KeptFiles,
    build_kept_files,
    copy_objects,
    delete_old_folders,
    keep_run_files,
)
from batch_inference.cli.laptop.progress import RunFollower, render_failure
from batch_inference.cli.laptop.sample import (
    SAMPLE_PIPELINE,
    create_buckets_and_role,
    upload_files,
    upload_sample,
)
from batch_inference.cli.models.model import (
    check_modules,
    compare_features,
    find_container,
    find_text_features,
    upload_model,
)
from batch_inference.cli.models.model_archive import build_model_archive
from batch_inference.cli.project import Project, convert_path, find_local_path, find_project
from batch_inference.common.errors import BatchInferenceError
from batch_inference.common.formatting import format_count, format_duration
from batch_inference.common.names import RunPaths
from batch_inference.common.object_names import is_control_name
from batch_inference.common.s3_uri import is_s3_uri, split_s3_uri
from batch_inference.config.pipeline import Pipeline
from batch_inference.config.run_params import (
    build_param_specs,
    check_conf_keys,
    check_param_limits,
    read_params,
)
from batch_inference.planning.plan import Plan
from batch_inference.reporting.report import render_text
from batch_inference.reporting.text import render_plan

#: Where `--input` is put, and where the output is published before `--output` copies it here.
USER_INPUT_PREFIX, USER_OUTPUT_PREFIX = "own-input/", "own-output/"


def parse_conf(pipeline: Pipeline, text: str) -> dict[str, Any]:
    """Parse `--conf` and check it against the pipeline's params before anything is started."""
    if not text.strip():
        return {}
    try:
        conf = json.loads(text)
    except json.JSONDecodeError as error:
        raise click.UsageError(
            f"--conf is not JSON: {error.msg} at character {error.pos + 1} of {text!r}; "
            "write --conf '{\"dry_run\": true}'"
        ) from None
    if not isinstance(conf, dict):
        raise click.UsageError(
            f"--conf must be a JSON object such as '{{\"dry_run\": true}}', found {text!r}"
        )
    specs = build_param_specs(pipeline)
    try:
        check_conf_keys(conf, specs)
        check_param_limits(pipeline, read_params(conf))
    except BatchInferenceError as error:
        raise click.UsageError(f"--conf: {error}") from None
    for name, value in conf.items():
        if schema_error := best_match(Draft202012Validator(specs[name]).iter_errors(value)):
            raise click.UsageError(f"--conf: {name}: {schema_error.message}; {specs[name]['description']}")
    return conf


def parse_input_path(text: str) -> Path | None:
    """The file or folder with files that `--input` names; None without it."""
    if not text:
        return None
    if is_s3_uri(text):
        raise click.UsageError(
            f"found --input {text}; allowed is a file or folder of this machine. Records in an embedded AWS are read "
            'with --endpoint-url URL --conf \'{"input_uri": "s3://…"}\''
        )
    path = find_local_path(text, "--input")
    if path.is_dir() and not any(each.is_file() for each in path.rglob("*")):
        raise click.UsageError(f"--input {text} is a folder without files")
    return path


def parse_output_path(text: str) -> Path | None:
    """The folder that `--output` names: absent, empty, or filled by an earlier run; None without it."""
    if not text:
        return None
    path = Path(text).expanduser()
    if path.exists() and not path.is_dir():
        raise click.UsageError(f"--output {text} is a file; name a folder")
    if path.is_dir() and any(path.iterdir()) and not (path / "_manifest.json").exists():
        raise click.UsageError(
            f"--output {text} holds other files; name an empty folder, or one that an earlier run has filled"
        )
    return path


def check_own_files(pipeline: Pipeline, source: Path | None, model: Path | None) -> None:
    """Refuse a run that a new embedded AWS has no records or no model for; it has those of the sample only.

    Raises click.UsageError that names the options.
    """
    missing = []
    if source is None:
        missing.append("records: --input FILE_OR_FOLDER")
    if model is None and any(each.model_data for each in pipeline.model.containers or ()):
        missing.append("model: --model FILE")
    if missing:
        raise click.UsageError(
            f"a new embedded AWS holds nothing of {pipeline.name}; name its {', and its '.join(missing)}, or use one "
            "that runs and has them: --endpoint-url URL (`batch-inference local-aws`, `upload`, `model`)"
        )


@contextlib.contextmanager
def hold_run_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of this project; refuse a second run, which would share the database and the port."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise click.UsageError(
                f"another run is active in this project; it holds the lock {folder / 'lock'}"
            ) from None
        yield


def run_dag(
    dag_id: str,
    conf: Mapping[str, Any],
    environment: Mapping[str, str],
    log: Path,
    python: str = sys.executable,
) -> RunFollower:
    """Run the DAG in a process of its own and follow it to its end on the terminal.

    `python` is the interpreter of the environment that Airflow is installed in.

    Raises:
        LaptopError: the DAG does not load, or Airflow ends before the run does.
    """
    home = Path(environment["AIRFLOW_HOME"])
    conf_file = home / "conf.json"
    conf_file.write_text(json.dumps(conf))
    read, write = os.pipe()
    with log.open("w") as output:
        process = subprocess.Popen(
            [
                *(python, "-m", "batch_inference.cli.laptop.run_dag"),
                *(dag_id, "--conf", str(conf_file), "--events", str(write)),
            ],
            cwd=home, env=environment, stdout=output, stderr=output, pass_fds=(write,),
        )  # fmt: skip
    os.close(write)
    try:
        follower = RunFollower()
        follower.follow(read)
        if process.wait() != 0:
            tail = "\n".join(log.read_text(errors="replace").strip().splitlines()[-12:])
            raise LaptopError(f"Airflow could not run the DAG:\n{tail}")
        return follower
    finally:
        stop_processes([process], grace_seconds=30)


def download_published(client: Any, uri: str, folder: Path) -> None:
    """Download the published files. They replace those of an earlier run; other files in the folder stay."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "_manifest.json").exists():
        earlier = json.loads((folder / "_manifest.json").read_text())
        names = [file["uri"].rsplit("/", 1)[1] for file in earlier["files"]]
        for name in (*names, "_manifest.json", "_SUCCESS"):
            (folder / name).unlink(missing_ok=True)
    bucket, prefix = split_s3_uri(uri)
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", ()):
            target = folder / entry["Key"].removeprefix(prefix)
            target.parent.mkdir(parents=True, exist_ok=True)
            client.download_file(bucket, entry["Key"], str(target))


def read_json_if_written(client: Any, uri: str) -> Any:
    """A JSON document in S3; None if the run did not write it."""
    bucket, key = split_s3_uri(uri)
    try:
        return json.loads(client.get_object(Bucket=bucket, Key=key)["Body"].read())
    except client.exceptions.NoSuchKey:
        return None


def report_outcome(
    client: Any, paths: RunPaths, follower: RunFollower, log: Path, kept: KeptFiles
) -> tuple[int, str | None]:
    """Print the outcome of the run; the exit status, and the published URI of a successful run.

    Addresses of files that are `kept` are printed as paths of this machine.
    """
    plan = read_json_if_written(client, paths.plan)
    report = read_json_if_written(client, paths.report_json)
    if follower.state != "success":
        print(kept.replace_uris("\n".join(render_failure(follower.errors))))
        print(f"\nThe run ended with state {follower.state or 'unknown'}. Airflow's log: {log}")
        return 1, None
    if plan is None:
        print(f"\nThe run succeeded but wrote no plan to {paths.plan}. Airflow's log: {log}")
        return 1, None
    if report is None:
        if plan["dry_run"]:
            print("\nDry run: no job was submitted, nothing was published.")
        print("\n" + "\n".join(render_plan(Plan.from_document(plan, paths.plan))))
        return 0, None
    print("\n" + kept.replace_uris(render_text(report)))
    records = report["records"]
    if records["in"] != records["rejected"] + records["scored"]:
        print(
            f"\nRecord counts differ: {records['in']:,} in, {records['rejected']:,} rejected, "
            f"{records['scored']:,} scored"
        )
        return 1, None
    return 0, str(plan["output_uri"])


@contextlib.contextmanager
def use_embedded_aws(data_dir: Path, endpoint_url: str | None, python: str) -> Iterator[str]:
    """The endpoint of the embedded AWS that runs there, or of a new one without state.

    Raises:
        LaptopError: it does not start, or what answers is not the embedded AWS.
    """
    if endpoint_url is None:
        shutil.rmtree(data_dir, ignore_errors=True)
        with run_embedded_aws(data_dir, python=python) as endpoint:
            yield endpoint
        return
    endpoint_url = endpoint_url.rstrip("/")
    try:
        with urllib.request.urlopen(f"{endpoint_url}/_local/usage", timeout=20) as answer:
            json.load(answer)["jobs"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LaptopError(
            f"--endpoint-url {endpoint_url}: no embedded AWS answers there ({error}); start one with "
            "`batch-inference local-aws`, or leave the option out"
        ) from error
    yield endpoint_url


def score_input(
    project: Project,
    pipeline: Pipeline,
    conf: dict[str, Any],
    source: Path | None,
    output: Path | None,
    *,
    model: Path | None = None,
    endpoint_url: str | None = None,
    local_aws_python: str = sys.executable,
) -> int:
    """Run the DAG on the embedded AWS and download the result; the exit status.

    `model` is the model's archive, folder or file, which takes the place of the one in S3.
    """
    if model is not None:
        container = find_container(pipeline)
        check_modules(container, local_aws_python)
        # What is missing is said before anything starts.
        build_model_archive(model, container, find_text_features(pipeline))
        if note := compare_features(pipeline, model, container, local_aws_python):
            print(f"  {note}")
    print("  starting the embedded AWS and Airflow (up to half a minute)", flush=True)
    state = project.state_folder / "run"
    with keep_files_private(project.state_folder) as outer_umask, hold_run_lock(state):
        started_at = time.monotonic()
        with use_embedded_aws(state / "aws", endpoint_url, local_aws_python) as endpoint:
            environment = build_airflow_environment(state / "airflow", endpoint, root=project.root)
            migration = start_migration(environment)
            client = create_s3_client(endpoint)
            create_buckets_and_role(client, pipeline)
            sample = project.state_folder / "sample"
            upload_sample(client, pipeline, sample, with_data=source is None, python=local_aws_python)
            bucket = split_s3_uri(pipeline.work)[0]
            if model is not None:
                client.create_bucket(Bucket=split_s3_uri(str(container.model_data))[0])
                print(f"  {upload_model(client, model, container, pipeline)}")
            if source is not None:
                delete_objects(client, bucket, USER_INPUT_PREFIX)
                conf = {"input_uri": f"s3://{bucket}/{get_input_prefix(source)}", **conf}
                upload_files(client, source, f"s3://{bucket}/{USER_INPUT_PREFIX}")
            if output is not None:
                delete_objects(client, bucket, USER_OUTPUT_PREFIX)
                conf = {"output_uri": f"s3://{bucket}/{USER_OUTPUT_PREFIX}", **conf}
            wait_for_migration(migration, environment)
            print(f"  ready after {time.monotonic() - started_at:.0f} s; running the DAG {pipeline.name}\n")
            log = state / "airflow.log"
            follower = run_dag(pipeline.name, conf, environment, log)
            paths = RunPaths.from_run_id(
                work=pipeline.work, pipeline=pipeline.name, run_id=follower.run_id or ""
            )
            runs_folder = project.state_folder / "runs"
            kept = keep_files(client, paths, runs_folder, with_output=output is None and endpoint_url is None)
            status, published_uri = report_outcome(client, paths, follower, log, kept)
            if output is not None and published_uri is not None:
                os.umask(outer_umask)  # the folder is the caller's
                download_published(client, published_uri, output)
                print(f"\nThe published files are in {output}/")
            print_kept_files(kept)
        print(f"\nTotal time: {format_duration(time.monotonic() - started_at)}")
        return status


def keep_files(client: Any, paths: RunPaths, runs_folder: Path, *, with_output: bool) -> KeptFiles:
    """Copy the files of the run below `runs_folder`, if wanted its published rows too, and delete those of old runs.

    A disk that is full, or is not writable, hides nothing of how the run ended: its error is printed.
    """
    kept = build_kept_files(paths, runs_folder)
    try:
        keep_run_files(client, paths, kept)
        report = read_json_if_written(client, paths.report_json) if with_output else None
        if report is not None:
            copy_objects(client, report["output"]["uri"], kept, kept.folder / "output")
        delete_old_folders(kept.folder)
    except OSError as error:
        print(f"\nThe files of the run could not be kept: {error}")
    return kept


def print_kept_files(kept: KeptFiles) -> None:
    """Say where the run's files are on this machine, and how to look at its report."""
    if not kept.paths:
        return
    print(f"\nThe files of the run, for the last {KEPT_RUNS} runs, are in {kept.folder}/")
    folders = Counter(path.parent for path in kept.paths.values() if path.parent.name == "rejects")
    for folder, number in sorted(folders.items()):
        print(f"Its rejected records: {format_count(number, 'file')} in {folder}/")
    if kept.report_html is not None:
        print(f"Open its report: python3 -m webbrowser {kept.report_html.resolve().as_uri()}")


def delete_objects(client: Any, bucket: str, prefix: str) -> None:
    """Delete what an earlier run has left below the prefix of a bucket that lives on."""
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        if keys := [{"Key": entry["Key"]} for entry in page.get("Contents", ())]:
            client.delete_objects(Bucket=bucket, Delete={"Objects": keys})


def get_input_prefix(source: Path) -> str:
    """The prefix of the run's input. A file of `--input` is scored even if its name is that of a control file."""
    return USER_INPUT_PREFIX + (source.name[0] if source.is_file() and is_control_name(source.name) else "")


@click.command()
@click.argument("pipeline_id", metavar="[PIPELINE]", required=False)
@click.option(
    "--input",
    "input_path",
    metavar="PATH",
    help="file or folder to score; default: input.uri; its data are there for the sample only",
)
@click.option(
    "--output", "output_path", metavar="FOLDER", help="folder that the published files are copied to"
)
@click.option(
    "--model",
    metavar="PATH",
    callback=convert_path,
    help="model.tar.gz, a folder with its content, or a file of joblib or XGBoost; default: the model in S3",
)
@click.option("--conf", metavar="JSON", default="", help="params of the run, as in the trigger form")
@click.option("--endpoint-url", metavar="URL", help="an embedded AWS that runs already; default: a new one")
@click.option(
    "--local-aws-python",
    metavar="PATH",
    default=sys.executable,
    help="Python of the environment that has the extra [local]; default: this one",
)
def command(
    pipeline_id: str | None,
    input_path: str | None,
    output_path: str | None,
    model: Path | None,
    conf: str,
    endpoint_url: str | None,
    local_aws_python: str,
) -> int:
    """Score one input on this machine, end to end, without an AWS account.

    Runs the DAG of PIPELINE through Airflow on the embedded AWS, follows its tasks and prints the report. PIPELINE is
    the DAG's id; it can be left out in a project with one pipeline. A question about the budget counts as rejected.

    \b
    batch-inference run abalone
    batch-inference run risk.churn --input customers.csv --output scored/
    batch-inference run churn --input customers.csv --model model.joblib
    batch-inference run churn --conf '{"transform_instance_count": 2}'
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # like Ctrl-C: stops what was started
    project = find_project()
    pipeline = project.load_pipeline(pipeline_id)
    params = parse_conf(pipeline, conf)
    source, output = parse_input_path(input_path or ""), parse_output_path(output_path or "")
    if endpoint_url is None and pipeline.name != SAMPLE_PIPELINE:
        check_own_files(pipeline, source, model)
    print(f"Scoring {source or 'the records in S3'} with the pipeline {pipeline.name}", flush=True)
    return score_input(
        project,
        pipeline,
        params,
        source,
        output,
        model=model,
        endpoint_url=endpoint_url,
        local_aws_python=local_aws_python,
    )
