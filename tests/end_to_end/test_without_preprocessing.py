"""Pipelines without `preprocess` under a real Airflow: the input's own lines are scored, in pieces or by many jobs."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from batch_inference.common.names import build_name_prefix
from batch_inference.common.s3_uri import split_s3_uri
from batch_inference.planning.clusters.rate_history import HistoryRow
from batch_inference.publishing.measured_rates import add_run_to_rate_history
from tests.end_to_end.deployment import Deployment

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(1200)]

BUCKET = "batch-inference-sample"
#: Answers each line with its length, so that every published row tells which line it was made of.
MODEL = {"containers": [{"image": "local/sleeper:1"}]}
NEEDS_PREPROCESS = ("preprocess", "rules", "on_empty", "impute", "baseline", "features")


class Bucket:
    """As much of a `Storage` as writing history takes."""

    def __init__(self, s3: Any) -> None:
        self.s3 = s3

    def write(self, uri: str, content: bytes, *, content_type: str) -> None:
        bucket, key = split_s3_uri(uri)
        self.s3.put_object(Bucket=bucket, Key=key, Body=content, ContentType=content_type)


def deploy(deployment: Deployment, name: str, columns: list[str], **more: Any) -> None:
    """A pipeline without preprocessing on the sleeper model, and no more columns than these."""

    def change(document: dict[str, Any]) -> None:
        for key in NEEDS_PREPROCESS:
            document.pop(key, None)
        document.update(
            model=MODEL,
            predictions={"format": "csv", "fields": {"0": "length"}, "types": {"length": "integer"}},
            transform={"accept": "text/csv", "max_instances": 3, **more.pop("transform", {})},
            output={"uri": f"s3://{BUCKET}/{name}/scored/"},
            input={
                "uri": f"s3://{BUCKET}/{name}/in/",
                "columns": [{"name": column} for column in columns],
                **more.pop("input", {}),
            },
            **more,
        )

    deployment.deploy(name, change)


def upload(deployment: Deployment, name: str, **objects: bytes) -> None:
    for key, content in objects.items():
        deployment.s3.put_object(Bucket=BUCKET, Key=f"{name}/in/{key}", Body=content)


def lines(first: int, count: int) -> list[str]:
    """So many records of two columns and different lengths."""
    return [f"{at},{'x' * (1 + at % 50)}" for at in range(first, first + count)]


def text(records: list[str]) -> bytes:
    return "".join(f"{record}\n" for record in records).encode()


def run(deployment: Deployment, name: str) -> str:
    run_id = deployment.trigger(name, {})
    assert deployment.wait(name, run_id) == "success", deployment.states(name, run_id)
    return run_id


def test_uneven_packed_objects_are_scored_by_jobs_with_lists_of_their_own(deployment: Deployment) -> None:
    """Earlier runs told that the model is slow and starts fast, so each job that ends early saves money."""
    name = "direct_lists"
    deploy(deployment, name, ["id", "text"], input={"compression": "gzip"}, goals={"prefer": "speed"})
    contents = [lines(1000 * at, 400 if at == 4 else 40) for at in range(9)]
    upload(
        deployment, name, **{f"day={at}/part.csv.gz": gzip.compress(text(each)) for at, each in enumerate(contents)}
    )  # fmt: skip
    add_run_to_rate_history(
        Bucket(deployment.s3), deployment.pipeline(name), "0" * 16, [learned(deployment, name)]
    )
    run_id = run(deployment, name)

    states = deployment.states(name, run_id)
    assert [states[f"await_transform[{job}]"] for job in range(3)] == ["success"] * 3
    plan = deployment.xcom(name, run_id, "plan")
    assert (plan["layout"]["mode"], plan["layout"]["jobs"]) == ("unsplit", 3)
    assert any("3 jobs of one instance work through balanced lists" in entry["text"] for entry in plan["log"])
    frame, manifest = deployment.read_published(f"s3://{BUCKET}/{name}/scored/")
    expected = [line for each in contents for line in each]
    assert [f"{row.id},{row.text}" for row in frame.itertuples()] == expected
    assert frame["length"].tolist() == [len(line) for line in expected]
    assert manifest["records"] == {
        "in": len(expected), "rejected": 0, "rejected_by_reason": {}, "scored": len(expected),
    }  # fmt: skip
    report = json.loads(deployment.objects(plan["run_prefix"])["report.json"])
    (stage,) = report["stages"]
    assert (stage["stage"], stage["instance_count"]) == ("transform", 3)
    used = usage(deployment, plan)
    assert len(used) == 3
    assert stage["billed_seconds"] == pytest.approx(sum(used), abs=3)
    assert stage["billed_seconds"] < 3 * stage["running_seconds"] + 1
    # One model for all of them, and none is left.
    assert deployment.states(name, run_id)["clean_up"] == "success"


def learned(deployment: Deployment, name: str) -> HistoryRow:
    """A run of this model that started within a second and read 500 bytes a second."""
    from batch_inference.planning.model_version import plan_model_without_lookup

    pipeline = deployment.pipeline(name)
    return HistoryRow(
        pipeline=name, run_id="earlier", data_time=datetime(2026, 1, 1, tzinfo=UTC).isoformat(), stage="transform",
        instance_type=pipeline.transform.instance_type, instance_count=1, model=plan_model_without_lookup(pipeline).key,
        bytes=50_000, records=1_000, objects=10, provisioning_seconds=1.0, running_seconds=101.0, busy_seconds=100.0,
        start_seconds=1.0, predicted_seconds=None, dollars=None,
    )  # fmt: skip


def usage(deployment: Deployment, plan: dict[str, Any]) -> list[float]:
    """Billed seconds of this run's transform jobs, by the embedded AWS's own record."""
    from urllib.request import urlopen

    with urlopen(f"{deployment.endpoint}/_local/usage?kind=transform") as answer:
        jobs = json.load(answer)["jobs"]
    name = build_name_prefix(plan["pipeline"])
    return [job["billed_seconds"] for job in jobs if job["name"].startswith(name)]


def test_one_large_object_is_cut_and_tiny_ones_are_put_together(deployment: Deployment) -> None:
    """SageMaker's own InputFilter chooses what the model sees; the published rows are the whole records."""
    name = "direct_pieces"
    deploy(
        deployment, name, ["id", "text"], transform={"input_filter": "$[1:]"}, goals={"prefer": "cost"},
        join={"format": "csv", "group_mb": 2},
    )  # fmt: skip
    large, tiny = lines(0, 200_000), [lines(10**6 + 10 * at, 3) for at in range(200)]
    upload(
        deployment,
        name,
        large=text(large),
        **{f"tiny/{at:03d}": text(each)[:-1] for at, each in enumerate(tiny)},
    )
    run_id = run(deployment, name)

    plan = deployment.xcom(name, run_id, "plan")
    assert (plan["layout"]["mode"], plan["layout"]["jobs"]) == ("pieces", 1)
    objects = deployment.objects(f"s3://{BUCKET}/{name}/scored/")
    manifest = json.loads(objects["_manifest.json"])
    assert len(manifest["files"]) > 1
    rows = [
        row
        for file in manifest["files"]
        for row in objects[file["uri"].rsplit("/", 1)[1]].decode().splitlines()[1:]
    ]
    expected = [*large, *(line for each in tiny for line in each)]
    assert rows == [f"{line},{len(line.split(',')[1])}" for line in expected]
    assert manifest["records"]["in"] == len(expected)
