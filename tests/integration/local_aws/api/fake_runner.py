"""A runner that does what the job's environment variables say; only standard library, so it starts at once.

SECONDS how long it works, STATUS and REASON how it ends, MESSAGE its exit message, DIE instead of ending,
DEAF to SIGTERM, CHILD leaves a process of its own running, SAY writes a line that is no event.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def main(spec_path: str) -> None:
    """Run the job of SPEC.json."""
    spec = json.loads(Path(spec_path).read_text())
    environment = spec["request"].get("Environment", {})
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: None if "DEAF" in environment else asked.append(number))
    start = time.time()
    tell(event="started", time=start)
    if "SPEC" in environment:
        Path(environment["SPEC"]).write_text(json.dumps(spec))
    if "SAY" in environment:
        write(environment["SAY"])
    if "CHILD" in environment:
        child = subprocess.Popen(
            [sys.executable, "-S", "-c", "import time; time.sleep(600)"], stdout=subprocess.DEVNULL
        )
        Path(environment["CHILD"]).write_text(f"{os.getpid()} {child.pid}")
    tell(event="progress", time=time.time(), objects_done=1, objects_total=2)
    end = start + float(environment.get("SECONDS", "0"))
    while time.time() < end and not asked:
        time.sleep(0.02)
    if "DIE" in environment:
        os.kill(os.getpid(), signal.SIGKILL)
    now = time.time()
    host = {
        "host": "algo-1",
        "started": start,
        "ended": now,
        "busy_seconds": float(environment.get("BUSY", "0")),
    }
    tell(
        event="finished",
        time=now,
        status="Stopped" if asked else environment.get("STATUS", "Completed"),
        failure_reason=environment.get("REASON"),
        exit_message=environment.get("MESSAGE"),
        instances=[host],
    )


def tell(**event: object) -> None:
    """One line of the event stream."""
    write(json.dumps(event))


def write(line: str) -> None:
    """One line, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
