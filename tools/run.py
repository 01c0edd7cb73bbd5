"""`make run`: score one input from nothing, with real Airflow and the embedded AWS, and say what came of it.

Exit status 0 only if the DAG run succeeded and every record is accounted for; 1 if not; 2 if it was asked wrongly.
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

from include.scoring.config import Pipeline, load_pipeline
from include.scoring.errors import ScoringError
from include.scoring.naming import RunPaths
from include.scoring.object_names import is_control_name
from include.scoring.params import check_conf, param_specs, read_params
from include.scoring.report import render_text
from include.scoring.s3uri import split
from tools.laptop import (
    REPO,
    STATE,
    LaptopError,
    airflow_environment,
    embedded_aws,
    finish_migration,
    migrate,
    private_files,
    s3_client,
    stop,
)  # fmt: skip
from tools.progress import Follower
from tools.sample import create_buckets, upload_folder, upload_sample

#: Where `make run INPUT=…` puts the user's file, and where `OUTPUT=…` is published before it is copied here.
OWN_INPUT, OWN_OUTPUT = "own-input/", "own-output/"


def refuse(message: str) -> NoReturn:
    """End with one line and status 2."""
    print(f"make run: {message}", file=sys.stderr)
    raise SystemExit(2)


def asked_conf(pipeline: Pipeline, text: str) -> dict[str, Any]:
    """The CONF a person typed, checked against the pipeline's params before anything is started."""
    if not text.strip():
        return {}
    try:
        conf = json.loads(text)
    except json.JSONDecodeError as error:
        refuse(
            f"CONF is not JSON: {error.msg} at character {error.pos + 1} of {text!r}; "
            "write CONF='{\"dry_run\": true}'"
        )
    if not isinstance(conf, dict):
        refuse(f"CONF must be a JSON object such as '{{\"dry_run\": true}}', found {text!r}")
    specs = param_specs(pipeline)
    try:
        check_conf(conf, specs)
        read_params(conf)
    except ScoringError as error:
        refuse(f"CONF: {error}")
    for name, value in conf.items():
        if wrong := best_match(Draft202012Validator(specs[name].schema).iter_errors(value)):
            refuse(f"CONF: {name}: {wrong.message}; {specs[name].description}")
    return conf


def asked_input(text: str) -> Path | None:
    """The user's own file or folder, if one was named."""
    if not text:
        return None
    path = Path(text).expanduser()
    if not path.exists():
        refuse(f"INPUT={text} does not exist (looked for {path.resolve()})")
    if path.is_dir() and not any(each.is_file() for each in path.rglob("*")):
        refuse(f"INPUT={text} is a folder without files")
    return path


def asked_output(text: str) -> Path | None:
    """The folder for the published files: absent, empty, or one that an earlier run filled."""
    if not text:
        return None
    path = Path(text).expanduser()
    if path.exists() and not path.is_dir():
        refuse(f"OUTPUT={text} is a file; name a folder")
    if path.is_dir() and any(path.iterdir()) and not (path / "_manifest.json").exists():
        refuse(f"OUTPUT={text} holds other files; name an empty folder, or one that an earlier run filled")
    return path


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Two runs in one clone would share a database and a port; the second is told so."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            refuse(f"another `make run` is under way in this clone (it holds {folder / 'lock'})")
        yield


def run_dag(dag_id: str, conf: dict[str, Any], environment: dict[str, str], log: Path) -> Follower:
    """Run the DAG in a process of its own and follow it to its end on the terminal."""
    home = Path(environment["AIRFLOW_HOME"])
    conf_file = home / "conf.json"
    conf_file.write_text(json.dumps(conf))
    read, write = os.pipe()
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tools.run_dag", dag_id, "--conf", str(conf_file), "--events", str(write)],
            cwd=REPO, env=environment, stdout=output, stderr=output, pass_fds=(write,),
        )  # fmt: skip
    os.close(write)
    try:
        follower = Follower()
        follower.follow(read)
        if process.wait() != 0:
            tail = "\n".join(log.read_text(errors="replace").strip().splitlines()[-12:])
            raise LaptopError(f"Airflow could not run the DAG:\n{tail}")
        return follower
    finally:
        stop(process, seconds=30)


def download_published(client: Any, uri: str, folder: Path) -> None:
    """Bring the published files here, in place of those an earlier run left; what else is there is left alone."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "_manifest.json").exists():
        earlier = json.loads((folder / "_manifest.json").read_text())
        names = [file["uri"].rsplit("/", 1)[1] for file in earlier["files"]]
        for name in (*names, "_manifest.json", "_SUCCESS"):
            (folder / name).unlink(missing_ok=True)
    bucket, prefix = split(uri)
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", ()):
            target = folder / entry["Key"].removeprefix(prefix)
            target.parent.mkdir(parents=True, exist_ok=True)
            client.download_file(bucket, entry["Key"], str(target))


def read_json(client: Any, uri: str) -> Any:
    """A JSON document in S3, or None when the run did not come so far."""
    bucket, key = split(uri)
    try:
        return json.loads(client.get_object(Bucket=bucket, Key=key)["Body"].read())
    except client.exceptions.NoSuchKey:
        return None


def tell_outcome(client: Any, pipeline: Pipeline, followed: Follower, log: Path) -> tuple[int, str | None]:
    """Print what a person should know at the end; the exit status, and where a run that is right has published."""
    paths = RunPaths.of(work=pipeline.work, pipeline=pipeline.name, run_id=followed.run_id or "")
    plan = read_json(client, paths.plan)
    report = read_json(client, paths.report_json)
    if followed.state != "success":
        print(f"\nThe run ended {followed.state or 'without a state'}.")
        for task, error in followed.errors.items():
            print(f"\n{task}: {error}")
        print(f"\nAirflow's whole log: {log}")
        return 1, None
    if plan is None:
        print(f"\nThe run ended success but left no plan at {paths.plan}. Airflow's whole log: {log}")
        return 1, None
    if report is None:
        print("\n" + "\n".join(plan["sentences"]))
        if plan["dry_run"]:
            print("\nA dry run: nothing was submitted, nothing was published.")
        return 0, None
    print("\n" + render_text(report))
    records = report["records"]
    if records["in"] != records["rejected"] + records["scored"]:
        print(
            f"\n{records['in']} came in, but {records['rejected']} were rejected and {records['scored']} scored."
        )
        return 1, None
    return 0, str(plan["output_uri"])


def score(pipeline: Pipeline, conf: dict[str, Any], source: Path | None, output: Path | None) -> int:
    """Everything between the checked request and the exit status."""
    state = STATE / "run"
    with private_files(STATE) as usual_umask, only_one(state):
        shutil.rmtree(state / "aws", ignore_errors=True)
        began = time.monotonic()
        with embedded_aws(state / "aws") as endpoint:
            environment = airflow_environment(state / "airflow", endpoint)
            migration = migrate(environment)
            client = s3_client(endpoint)
            create_buckets(client, pipeline)
            upload_sample(client, pipeline, STATE / "sample", data=source is None)
            bucket = split(pipeline.work)[0]
            if source is not None:
                conf = {"input_uri": f"s3://{bucket}/{input_prefix(source)}", **conf}
                upload_folder(client, source, f"s3://{bucket}/{OWN_INPUT}")
            if output is not None:
                conf = {"output_uri": f"s3://{bucket}/{OWN_OUTPUT}", **conf}
            finish_migration(migration, environment)
            print(f"  ready after {time.monotonic() - began:.0f} s; the DAG {pipeline.name} runs\n")
            log = state / "airflow.log"
            followed = run_dag(pipeline.name, conf, environment, log)
            status, published = tell_outcome(client, pipeline, followed, log)
            if output is not None and published is not None:
                os.umask(usual_umask)  # the folder is the caller's
                download_published(client, published, output)
                print(f"\nThe published files are in {output}/")
        print(f"\n{time.monotonic() - began:.0f} s in all.")
        return status


def input_prefix(source: Path) -> str:
    """The prefix of the run's input. A file that the user named is meant, also where its name is a control file's."""
    return OWN_INPUT + (source.name[0] if source.is_file() and is_control_name(source.name) else "")


def main() -> int:
    """Parse the arguments of `make run`; the exit status."""
    parser = argparse.ArgumentParser(prog="make run", description=__doc__)
    for name in ("--pipeline", "--input", "--output", "--conf"):
        parser.add_argument(name, default="")
    arguments = parser.parse_args()
    path = REPO / "include" / "pipelines" / f"{arguments.pipeline}.yaml"
    if not path.exists():
        known = ", ".join(sorted(each.stem for each in path.parent.glob("*.yaml")))
        refuse(f"PIPELINE={arguments.pipeline}: there is no {path.relative_to(REPO)}; there are: {known}")
    try:
        pipeline = load_pipeline(path)
    except ScoringError as error:
        refuse(str(error))
    conf = asked_conf(pipeline, arguments.conf)
    source, output = asked_input(arguments.input), asked_output(arguments.output)
    print(f"Scoring {source or 'the sample data'} with the pipeline {pipeline.name}")
    try:
        return score(pipeline, conf, source, output)
    except LaptopError as error:
        print(f"make run: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
