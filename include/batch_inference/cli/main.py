"""The group of commands. A command's module is imported when the command is called: `--help` takes no Airflow.

The command `new` is `command` in `batch_inference.cli.authoring.new`. It returns its exit status, or None for 0. Errors
of this package and of AWS are printed in one line, with status 1; wrong arguments, with status 2.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from batch_inference import __version__
from batch_inference.common.errors import BatchInferenceError
from batch_inference.common.formatting import suggest_name

PROGRAM = "batch-inference"
#: The folder of each command's module and what it does, in the order in which a new user needs them.
COMMANDS = {
    "init": ("authoring", "lay out a repository of pipelines"),
    "new": ("authoring", "write a pipeline file, of an example or of a sample of the input"),
    "check": ("authoring", "check the pipeline files"),
    "plan": (
        "aws",
        "what a run would do and cost, and the instance types to choose from; reads AWS, starts nothing",
    ),
    "model": ("models", "pack a model, upload it to where a pipeline reads it, or register it"),
    "upload": ("aws", "upload a file or folder to S3, by default to where a pipeline reads its input"),
    "run": (
        "laptop",
        "score one input on this machine: Airflow and the embedded AWS, without an AWS account",
    ),
    "up": ("laptop", "the embedded AWS and Airflow with its UI on localhost, until Ctrl-C"),
    "local-aws": ("laptop", "the embedded AWS alone, until Ctrl-C"),
    "costs": ("aws", "what the pipelines cost in a month, failed runs included"),
    "iam": ("aws", "print the IAM policies that a pipeline needs"),
    "prices": ("aws", "print AWS's prices of SageMaker's instances in a region, or write them to a file"),
    "baseline": ("authoring", "print the `baseline` of a pipeline file from a run's profile"),
    "mwaa": ("aws", "write the bundle for Amazon MWAA"),
}


class CommandLine(click.Group):
    """Commands by the names in `COMMANDS`."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import the command of this name. Raises click.UsageError for another name, with the nearest."""
        if cmd_name not in COMMANDS:
            raise click.UsageError(
                f"found the command {cmd_name!r}; allowed are {', '.join(COMMANDS)}{suggest_name(cmd_name, COMMANDS)}"
            )
        folder, _ = COMMANDS[cmd_name]
        module = import_module(f"batch_inference.cli.{folder}.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """Write the table; click would import every command for it."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, purpose) for name, (_, purpose) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what a person can mend is one message on standard error."""
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            return print_error(error.format_message(), ctx.invoked_subcommand, error.exit_code)
        except Exception as error:
            if not isinstance(error, list_expected_errors()):
                raise
            return print_error(describe_error(error), ctx.invoked_subcommand, 1)


def list_expected_errors() -> tuple[type[Exception], ...]:
    """The errors that a person can mend: this package's, and AWS's if a client was used."""
    aws = sys.modules.get("botocore.exceptions")
    return (BatchInferenceError, *((aws.BotoCoreError, aws.ClientError) if aws else ()))


def describe_error(error: Exception) -> str:
    """The message, and for a client of AWS that is not set up, what to do."""
    remedy = {
        "NoCredentialsError": "set AWS_PROFILE, or log in (`aws sso login`); for the embedded AWS add --endpoint-url "
        "http://127.0.0.1:5600",
        "NoRegionError": "set AWS_DEFAULT_REGION, or region: in the pipeline file; for the embedded AWS add "
        "--endpoint-url http://127.0.0.1:5600",
        "EndpointConnectionError": "is it running? `batch-inference local-aws` starts the embedded AWS",
    }.get(type(error).__name__)
    return f"{str(error).rstrip('.')}; {remedy}" if remedy else str(error)


def print_error(message: str, command: str | None, status: int) -> int:
    """Print a message that begins with the command; gives `status`."""
    click.echo(f"{PROGRAM}{f' {command}' if command else ''}: {message}", err=True)
    return status


@click.group(cls=CommandLine, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name=PROGRAM)
def command_line() -> None:
    """SageMaker batch inference from Airflow: pipelines as YAML files.

    \b
    batch-inference new churn --from customers.csv
    batch-inference run churn --input customers.csv --model model.joblib --output scored/
    batch-inference COMMAND --help      what a command takes, with examples
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    try:
        return command_line.main(arguments, prog_name=PROGRAM, standalone_mode=False) or 0
    except click.ClickException as error:
        return print_error(error.format_message(), None, error.exit_code)
    except click.Abort:
        click.echo("\nstopped", err=True)
        return 130
