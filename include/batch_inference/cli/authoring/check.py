"""`batch-inference check`: reads every pipeline file of the project. An invalid one affects its own pipeline only."""

from __future__ import annotations

import click

from batch_inference.cli.project import find_project
from batch_inference.common.errors import PipelineError
from batch_inference.common.formatting import format_count
from batch_inference.config.pipeline_files import find_shared_prefixes, read_pipelines


@click.command()
def command() -> int:
    """Check the pipeline files: file, line, value found and values allowed of each error.

    The status is 1 if a file is invalid.
    """
    results = [result for _, _, result in read_pipelines(find_project().pipelines_folder)]
    errors = [result for result in results if isinstance(result, PipelineError)]
    shared = find_shared_prefixes(result for result in results if not isinstance(result, PipelineError))
    for error in (*errors, *shared):
        click.echo(error, err=True)
    click.echo(f"{format_count(len(results) - len(errors), 'valid pipeline')}, {len(errors)} invalid")
    return 1 if errors or shared else 0
