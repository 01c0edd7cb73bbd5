"""`python -m local_aws.runner SPEC.json`: one job; events on standard output, its own log on standard error."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from local_aws.process_end import end_process
from local_aws.runner.job_context import EventWriter
from local_aws.runner.run_job import run_job
from local_aws.runner.runner_spec import read_spec
from local_aws.runner.stopping import StopFlag, stop_on_sigterm, watch_parent


def main(arguments: list[str]) -> int:
    """Run the job; 0 once `finished` was sent, whatever the job's status."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m local_aws.runner SPEC.json\n")
        return 2
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s"
    )
    stop_flag = StopFlag()
    stop_on_sigterm(stop_flag)
    # Containers die with the threads of this process (container_init.py), so leaving at once leaves nothing behind.
    watch_parent(lambda: os._exit(1))
    spec = read_spec(Path(arguments[0]))
    run_job(spec, EventWriter(sys.stdout, spec.settings.progress_seconds), stop_flag)
    return 0


if __name__ == "__main__":
    end_process(main(sys.argv[1:]))
