"""The task ids of the chain, in the order of the way of the data."""

from __future__ import annotations

PLAN = "plan"
PREPROCESS = "preprocess"
PREPROCESSED = "preprocessed"
SHARDS = "shards"
TRANSFORM = "transform"
TRANSFORMED = "transformed"
JOIN = "join"
PUBLISH = "publish"
REPORT = "report"
CLEAN_UP = "clean_up"
