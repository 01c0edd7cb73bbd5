"""What another program or pipeline left at the output: refused before anything is paid for, and never touched."""

from __future__ import annotations

import json
from typing import Any

import pytest

from batch_inference.aws.s3 import Storage
from batch_inference.common.errors import OutputConflictError
from batch_inference.dag.tasks import plan, publish
from batch_inference.run import task_ids
from tests.integration import publications
from tests.integration.publications import OUT, publication
from tests.integration.publishing.test_late_publish import scored
from tests.integration.staged_runs import Pipelines, deployed, document

__all__ = ["deployed"]

BY_DATE = "s3://bucket/out/date=2026-01-05/"
OURS = {"version": 1, "pipeline": "churn", "run_id": "nightly-4", "files": []}
FOREIGN = {
    "an object": ('{"hello": 1}', "holds a JSON object with 'hello', not the manifest of a pipeline"),
    "an empty object": ("{}", "holds a JSON object with no member"),
    "an array": ("[]", "holds an array, not the manifest of a pipeline"),
    "null": ("null", "holds null, not the manifest of a pipeline"),
    "a number": ("1", "holds a number, not the manifest of a pipeline"),
    "no JSON": ("key,value\n", "is not JSON"),
    "no text": (b"\xff\xfe\x00", "is not JSON"),
    "too deep": ("[" * 100_000, "is not JSON"),
    "empty": ("", "is empty"),
    "blank": (" \n", "is empty"),
    "another pipeline's": (
        json.dumps({**OURS, "pipeline": "salmon"}),
        "is the manifest of the pipeline 'salmon', published by its run 'nightly-4'",
    ),
    "a later version": (
        json.dumps({**OURS, "version": 2}),
        "is a manifest of this pipeline in version 2; known is version 1",
    ),
    "without files": (json.dumps({**OURS, "files": None}), "that does not list its files"),
    "files without address": (json.dumps({**OURS, "files": [{"rows": 1}]}), "that does not list its files"),
}


@pytest.mark.parametrize(("content", "message"), FOREIGN.values(), ids=FOREIGN)
def test_plan_refuses_an_output_that_is_somebody_elses(
    deployed: Pipelines, content: str | bytes, message: str
) -> None:
    """It says what is there, whose it is and what to do."""
    deployed.write(document())
    deployed.upload(5, ["r1,f,1"])
    deployed.storage.write(f"{BY_DATE}_manifest.json", content)
    run = deployed.run("nightly-5", 5, lambda _: 1.0)
    with pytest.raises(OutputConflictError) as refused:
        run.task(task_ids.PLAN, plan.plan_run)
    said = str(refused.value)
    assert said.startswith(f"{BY_DATE}_manifest.json ")
    assert message in said
    assert "Give it an output of its own (`output.uri`)" in said
    assert deployed.storage.list_uris("s3://bucket/work/") == []


def test_the_output_that_is_looked_at_is_the_one_that_is_asked_for(deployed: Pipelines) -> None:
    """By hand, and without a slash at its end, which is not part of the names of what lies there."""
    deployed.write(document())
    deployed.upload(5, ["r1,f,1"])
    deployed.storage.write("s3://bucket/trial/_manifest.json", "[]")
    with pytest.raises(OutputConflictError, match=r"s3://bucket/trial/_manifest\.json holds an array"):
        deployed.run("manual-1", 5, lambda _: 1.0, output_uri="s3://bucket/trial").task(
            task_ids.PLAN, plan.plan_run
        )
    made = deployed.run("manual-2", 5, lambda _: 1.0, output_uri="s3://bucket/other")
    assert made.task(task_ids.PLAN, plan.plan_run)["output_uri"] == "s3://bucket/other/"


@pytest.mark.parametrize("content", ["[]", json.dumps({**OURS, "pipeline": "salmon"})])
def test_publish_looks_again(deployed: Pipelines, content: str) -> None:
    """What came there since `plan` stays, with its files; this run leaves nothing."""
    deployed.write(document())
    run = scored(deployed, "nightly-5", 0.25, 20)
    theirs = {f"{BY_DATE}_manifest.json": content, f"{BY_DATE}part-00000-theirs.parquet": "x"}
    for uri, body in theirs.items():
        deployed.storage.write(uri, body)
    with pytest.raises(OutputConflictError):
        run.task(task_ids.PUBLISH, publish.publish)
    assert {uri: deployed.storage.read(uri).decode() for uri in deployed.storage.list_uris(BY_DATE)} == theirs


def test_a_foreign_manifest_that_comes_while_parts_are_copied_stays(storage: Storage) -> None:
    """The commit is refused; the parts of this try go, and nothing else."""
    storage.delete(storage.list_uris("s3://bucket/"))

    def meanwhile() -> Any:
        storage.write(f"{OUT}_manifest.json", "[]")

    with pytest.raises(OutputConflictError, match="holds an array"):
        publications.publish(publication(storage), 0, 1, meanwhile=meanwhile)
    assert storage.list_uris("s3://bucket/") == [f"{OUT}_manifest.json"]
