"""The model of the fault suite: doubles a number, unless its file fault.txt or the variable FAULT tells it not to."""

import json
import os
import time
from pathlib import Path

BAD = -1.0


def model_fn(model_dir):
    fault = os.environ.get("FAULT") or Path(model_dir, "fault.txt").read_text()
    if fault == "never answers ping":
        time.sleep(3600)
    return fault


def input_fn(body, content_type):
    text = body.decode() if isinstance(body, bytes) else body
    return [float(line) for line in text.split()]


def predict_fn(values, fault):
    if fault == "exits":
        print("the model gives up", flush=True)  # noqa: T201 - a container's log
        os._exit(1)
    if fault == "hangs":
        time.sleep(3600)
    if BAD in values:
        raise ValueError(f"a bad record: {BAD}")
    return [value * 2.0 for value in values]


def output_fn(scores, accept):
    return "".join(json.dumps({"score": score}) + "\n" for score in scores), accept
