"""Runs the join job: `python3 -m batch_inference.jobs.join`."""

import sys

from batch_inference.jobs.join.join_job import main

sys.exit(main())
