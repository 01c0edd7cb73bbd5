"""`join_group`: join each record with its prediction, for one group of shards or pieces; mapped over the groups."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from batch_inference.aws.streaming_upload import upload_while_writing
from batch_inference.config.pipeline_files import get_pipelines_folder
from batch_inference.dag.task_functions import provide_run_context
from batch_inference.jobs.config.join_spec import JoinSpec
from batch_inference.jobs.join.aligned_join import get_partial_path, run_in_order
from batch_inference.jobs.join.parts import (
    STATISTICS_SUFFIX,
    format_part_name,
    get_statistics_path,
    join_part,
)
from batch_inference.requests.sagemaker import build_join_spec
from batch_inference.run.join_inputs import open_join_inputs
from batch_inference.run.run_context import RunContext
from batch_inference.run.user_functions import import_functions

#: Sources that are downloaded at a time, while one is joined and the output is uploaded.
PREFETCHED_SOURCES = 3
COUNTS_SUFFIX = ".counts.json"


@provide_run_context
def join_group(run: RunContext, group: Mapping[str, int], **_: Any) -> dict[str, Any]:
    """Write one part file below the run's prefix, and next to it its statistics and the rows of each source.

    Raises:
        ReconciliationError: the predictions are for the output of another run of `preprocess` or for the pieces of
            another plan, or an object was changed since its job wrote it.
        PredictionCountError: a source does not have one prediction for each record, or one cannot be read.
    """
    storage, inputs = run.storage, open_join_inputs(run)
    sources = inputs.list_sources(group)
    if run.pipeline.join.function is not None:
        import_functions(run.pipeline, get_pipelines_folder(run.ti.dag_id))
    spec = JoinSpec.from_dict(build_join_spec(run.pipeline))
    name = format_part_name(group["number"], spec)
    # The try number is part of the name, so the file of an earlier try is never mistaken for this one's.
    uri = f"{run.paths.build_joined_prefix(f'{inputs.job_names[-1]}-{run.ti.try_number}')}{name}"
    with tempfile.TemporaryDirectory(prefix="join-") as folder:
        output = Path(folder) / name
        files = run_in_order((partial(each.fetch, Path(folder)) for each in sources), PREFETCHED_SOURCES)
        with upload_while_writing(storage, uri, get_partial_path(output), output):
            part = join_part(files, output, spec)
        storage.upload(get_statistics_path(output), f"{uri}{STATISTICS_SUFFIX}")
    # There may be as many pieces as the input has objects, which is too much for XCom.
    storage.write_json(f"{uri}{COUNTS_SUFFIX}", part.pop("shards"))
    return {
        "uri": uri,
        "statistics": f"{uri}{STATISTICS_SUFFIX}",
        "counts": f"{uri}{COUNTS_SUFFIX}",
        "number": group["number"],
        "jobs": inputs.job_names,
        **part,
    }
