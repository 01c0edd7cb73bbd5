"""The end of the embedded AWS's own processes."""

from __future__ import annotations

import logging
import os
import sys
from typing import NoReturn


def end_process(status: int) -> NoReturn:
    """End this process with what it wrote flushed, and without the interpreter's clean-up.

    With boto3 or moto loaded that takes 0.2 s of CPU, a quarter of what a runner costs beside its job.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
