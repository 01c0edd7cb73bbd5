"""Runs the preprocess job: `python3 -m batch_inference.jobs.preprocess`."""

import sys

from batch_inference.jobs.preprocess.preprocess_job import main

sys.exit(main())
