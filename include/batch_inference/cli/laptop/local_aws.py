"""`batch-inference local-aws`: the embedded AWS alone, and how the AWS CLI and boto3 reach it."""

from __future__ import annotations

import signal
import sys
import time

import click

from batch_inference.cli.laptop.environment import (
    CREDENTIALS,
    create_s3_client,
    keep_files_private,
    run_embedded_aws_process,
)
from batch_inference.cli.laptop.sample import prepare_buckets
from batch_inference.cli.project import find_project


def render_settings(endpoint_url: str) -> str:
    """The lines of a shell that point the AWS CLI and boto3 at the embedded AWS."""
    variables = {**CREDENTIALS, "AWS_ENDPOINT_URL": endpoint_url}
    lines = [f"  export {name}={value}" for name, value in variables.items()]
    return "\n".join(["The AWS CLI and boto3 reach the embedded AWS with", *lines])


@click.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), default=5600, show_default=True, help="0: any free port"
)
@click.option(
    "--python",
    metavar="PATH",
    default=sys.executable,
    help="Python of the environment that has the extra [local]; default: this one",
)
def command(port: int, python: str) -> int:
    """Run the embedded AWS on localhost, until Ctrl-C.

    It has the buckets of the project's pipelines. Its state stays in .local/local-aws/ of the project.

    \b
    batch-inference local-aws
    batch-inference run churn --endpoint-url http://127.0.0.1:5600      in another terminal
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    project = find_project()
    state = project.state_folder
    try:
        with (
            keep_files_private(state),
            run_embedded_aws_process(state / "local-aws", port=port, python=python) as (process, endpoint),
        ):
            prepare_buckets(
                create_s3_client(endpoint), state / "sample", project.pipelines_folder, python=python
            )
            print(
                f"embedded AWS on {endpoint}\n\n{render_settings(endpoint)}\n\nCtrl-C stops it.", flush=True
            )
            while process.poll() is None:
                time.sleep(0.5)
            raise click.ClickException(f"the embedded AWS ended with status {process.returncode}")
    except KeyboardInterrupt:
        return 0
