"""`make run`: score one input with real Airflow and the embedded AWS, and print the result.

Exit status: 0 if the DAG run succeeded and every record is accounted for, 1 if not, 2 for invalid arguments.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from batch_inference.common.errors import BatchInferenceError
from batch_inference.common.names import RunPaths
from batch_inference.common.object_names import is_control_name
from batch_inference.common.s3_uri import split_s3_uri
from batch_inference.config.pipeline import Pipeline, load_pipeline
from batch_inference.config.run_params import build_param_specs, check_conf_keys, read_params
from batch_inference.reporting.report import render_text
from tools.laptop.environment import (
    REPO,
    STATE_DIR,
    LaptopError,
    build_airflow_environment,
    create_s3_client,
    keep_files_private,
    run_embedded_aws,
    start_migration,
    stop_process,
    wait_for_migration,
)  # fmt: skip
from tools.laptop.progress import RunFollower
from tools.laptop.sample import create_buckets, upload_files, upload_sample

#: Where `make run INPUT=…` puts the user's file, and where `OUTPUT=…` is published before it is copied here.
USER_INPUT_PREFIX, USER_OUTPUT_PREFIX = "own-input/", "own-output/"


def exit_with_usage_error(message: str) -> NoReturn:
    """End with one line and status 2."""
    print(f"make run: {message}", file=sys.stderr)
    raise SystemExit(2)


def parse_conf(pipeline: Pipeline, text: str) -> dict[str, Any]:
    """Parse CONF and check it against the pipeline's params before anything is started."""
    if not text.strip():
        return {}
    try:
        conf = json.loads(text)
    except json.JSONDecodeError as error:
        exit_with_usage_error(
            f"CONF is not JSON: {error.msg} at character {error.pos + 1} of {text!r}; "
            "write CONF='{\"dry_run\": true}'"
        )
    if not isinstance(conf, dict):
        exit_with_usage_error(f"CONF must be a JSON object such as '{{\"dry_run\": true}}', found {text!r}")
    specs = build_param_specs(pipeline)
    try:
        check_conf_keys(conf, specs)
        read_params(conf)
    except BatchInferenceError as error:
        exit_with_usage_error(f"CONF: {error}")
    for name, value in conf.items():
        if schema_error := best_match(Draft202012Validator(specs[name]).iter_errors(value)):
            exit_with_usage_error(f"CONF: {name}: {schema_error.message}; {specs[name]['description']}")
    return conf


def parse_input_path(text: str) -> Path | None:
    """The file or folder that INPUT names; None without INPUT."""
    if not text:
        return None
    path = Path(text).expanduser()
    if not path.exists():
        exit_with_usage_error(f"INPUT={text} does not exist (looked for {path.resolve()})")
    if path.is_dir() and not any(each.is_file() for each in path.rglob("*")):
        exit_with_usage_error(f"INPUT={text} is a folder without files")
    return path


def parse_output_path(text: str) -> Path | None:
    """The folder that OUTPUT names: absent, empty, or filled by an earlier run; None without OUTPUT."""
    if not text:
        return None
    path = Path(text).expanduser()
    if path.exists() and not path.is_dir():
        exit_with_usage_error(f"OUTPUT={text} is a file; name a folder")
    if path.is_dir() and any(path.iterdir()) and not (path / "_manifest.json").exists():
        exit_with_usage_error(
            f"OUTPUT={text} holds other files; name an empty folder, or one that an earlier run has filled"
        )
    return path


@contextlib.contextmanager
def hold_run_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of this clone; refuse a second run, which would share the database and the port."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            exit_with_usage_error(
                f"another `make run` is active in this clone; it holds the lock {folder / 'lock'}"
            )
        yield


def run_dag(dag_id: str, conf: dict[str, Any], environment: dict[str, str], log: Path) -> RunFollower:
    """Run the DAG in a process of its own and follow it to its end on the terminal."""
    home = Path(environment["AIRFLOW_HOME"])
    conf_file = home / "conf.json"
    conf_file.write_text(json.dumps(conf))
    read, write = os.pipe()
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tools.laptop.run_dag", dag_id, "--conf", str(conf_file), "--events", str(write)],
            cwd=REPO, env=environment, stdout=output, stderr=output, pass_fds=(write,),
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
        stop_process(process, grace_seconds=30)


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
    client: Any, pipeline: Pipeline, follower: RunFollower, log: Path
) -> tuple[int, str | None]:
    """Print the outcome of the run; the exit status, and the published URI of a successful run."""
    paths = RunPaths.from_run_id(work=pipeline.work, pipeline=pipeline.name, run_id=follower.run_id or "")
    plan = read_json_if_written(client, paths.plan)
    report = read_json_if_written(client, paths.report_json)
    if follower.state != "success":
        print(f"\nThe run ended with state {follower.state or 'unknown'}.")
        for task, error in follower.errors.items():
            print(f"\n{task}: {error}")
        print(f"\nFull Airflow log: {log}")
        return 1, None
    if plan is None:
        print(f"\nThe run succeeded but wrote no plan to {paths.plan}. Full Airflow log: {log}")
        return 1, None
    if report is None:
        print("\n" + "\n".join(entry["text"] for entry in plan["log"]))
        if plan["dry_run"]:
            print("\nDry run: no job was submitted, nothing was published.")
        return 0, None
    print("\n" + render_text(report))
    records = report["records"]
    if records["in"] != records["rejected"] + records["scored"]:
        print(
            f"\nRecord counts differ: {records['in']} in, {records['rejected']} rejected, {records['scored']} scored"
        )
        return 1, None
    return 0, str(plan["output_uri"])


def score_input(pipeline: Pipeline, conf: dict[str, Any], source: Path | None, output: Path | None) -> int:
    """Start the embedded AWS, run the DAG and download the result; the exit status."""
    state = STATE_DIR / "run"
    with keep_files_private(STATE_DIR) as outer_umask, hold_run_lock(state):
        shutil.rmtree(state / "aws", ignore_errors=True)
        started_at = time.monotonic()
        with run_embedded_aws(state / "aws") as endpoint:
            environment = build_airflow_environment(state / "airflow", endpoint)
            migration = start_migration(environment)
            client = create_s3_client(endpoint)
            create_buckets(client, pipeline)
            upload_sample(client, pipeline, STATE_DIR / "sample", with_data=source is None)
            bucket = split_s3_uri(pipeline.work)[0]
            if source is not None:
                conf = {"input_uri": f"s3://{bucket}/{get_input_prefix(source)}", **conf}
                upload_files(client, source, f"s3://{bucket}/{USER_INPUT_PREFIX}")
            if output is not None:
                conf = {"output_uri": f"s3://{bucket}/{USER_OUTPUT_PREFIX}", **conf}
            wait_for_migration(migration, environment)
            print(f"  ready after {time.monotonic() - started_at:.0f} s; running the DAG {pipeline.name}\n")
            log = state / "airflow.log"
            follower = run_dag(pipeline.name, conf, environment, log)
            status, published_uri = report_outcome(client, pipeline, follower, log)
            if output is not None and published_uri is not None:
                os.umask(outer_umask)  # the folder is the caller's
                download_published(client, published_uri, output)
                print(f"\nThe published files are in {output}/")
        print(f"\nTotal time: {time.monotonic() - started_at:.0f} s")
        return status


def get_input_prefix(source: Path) -> str:
    """The prefix of the run's input. A file that INPUT names is scored even if its name is that of a control file."""
    return USER_INPUT_PREFIX + (source.name[0] if source.is_file() and is_control_name(source.name) else "")


def main() -> int:
    """Parse the arguments of `make run`; the exit status."""
    parser = argparse.ArgumentParser(prog="make run", description=__doc__)
    for name in ("--pipeline", "--input", "--output", "--conf"):
        parser.add_argument(name, default="")
    arguments = parser.parse_args()
    path = REPO / "include" / "pipelines" / f"{arguments.pipeline}.yaml"
    if not path.exists():
        known = ", ".join(sorted(each.stem for each in path.parent.glob("*.yaml")))
        exit_with_usage_error(
            f"PIPELINE={arguments.pipeline}: {path.relative_to(REPO)} does not exist; known pipelines: {known}"
        )
    try:
        pipeline = load_pipeline(path)
    except BatchInferenceError as error:
        exit_with_usage_error(str(error))
    conf = parse_conf(pipeline, arguments.conf)
    source, output = parse_input_path(arguments.input), parse_output_path(arguments.output)
    print(f"Scoring {source or 'the sample data'} with the pipeline {pipeline.name}")
    try:
        return score_input(pipeline, conf, source, output)
    except LaptopError as error:
        print(f"make run: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
