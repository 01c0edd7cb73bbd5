"""`python -m batch_inference.cli`: the command line from a checkout."""

from __future__ import annotations

import sys

from batch_inference.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
