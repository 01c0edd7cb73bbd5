"""The model of the fault suite: doubles a number. The variable FAULT of its container makes it misbehave."""

import json
import os
import time

FAULT = os.environ.get("FAULT")
BAD = -1.0


def model_fn(model_dir):
    if FAULT == "never answers ping":
        time.sleep(3600)
    return 2.0


def input_fn(body, content_type):
    text = body.decode() if isinstance(body, bytes) else body
    return [float(line) for line in text.split()]


def predict_fn(values, factor):
    if FAULT == "exits":
        print("the model gives up", flush=True)  # noqa: T201 - a container's log
        os._exit(1)
    if FAULT == "hangs":
        time.sleep(3600)
    if BAD in values:
        raise ValueError(f"a bad record: {BAD}")
    return [value * factor for value in values]


def output_fn(scores, accept):
    return "".join(json.dumps({"score": score}) + "\n" for score in scores), accept
