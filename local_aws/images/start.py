"""Starts one of the built-in images: `python start.py script_server`.

The repository goes to the end of the path, so that a user's modules win, and no variable of the container is touched.
"""

import runpy
import sys
from pathlib import Path

images_dir = Path(__file__).resolve().parent
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != images_dir]
sys.path.append(str(images_dir.parents[1]))
runpy.run_module(f"local_aws.images.{sys.argv[1]}", run_name="__main__", alter_sys=False)
