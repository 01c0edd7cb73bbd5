"""What `plan` takes from the run itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml
from botocore.exceptions import ClientError

from batch_inference.aws.s3 import Storage
from batch_inference.common.errors import PlanError, RequestLintError
from batch_inference.dag.tasks.plan import plan_run, read_control_file
from batch_inference.input_pieces.layout_files import read_listing
from batch_inference.planning.plan import Plan
from tests.unit.builders import TWO_CONTAINERS, WITHOUT_PREPROCESS, document

FAULTS = Path(__file__).resolve().parents[2] / "inputs" / "faults"

INTERVAL, AFTER = (datetime(2026, 1, day, tzinfo=UTC) for day in (1, 3))

Planning = Callable[..., dict[str, Any]]


@pytest.fixture
def planning(storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Planning:
    """`plan` of a pipeline with these changes, as a dry run unless params say something else."""
    monkeypatch.setattr("batch_inference.config.pipeline_files._FOLDERS", defaultdict(lambda: tmp_path))

    def make(
        changes: dict[str, Any] | None = None, events: Mapping[str, Any] | None = None, **params: Any
    ) -> dict[str, Any]:
        bucket = {
            "aws_conn_id": "aws_test", "model": TWO_CONTAINERS, "work": "s3://bucket/work",
            "input.uri": "s3://bucket/in/", "output.uri": "s3://bucket/predicted/",
            "quotas": {"Number of instances": 9}, **(changes or {}),
        }  # fmt: skip
        (tmp_path / "churn.yaml").write_text(yaml.safe_dump(document(bucket)))
        run = SimpleNamespace(
            conf={}, run_id="r", data_interval_start=INTERVAL, logical_date=INTERVAL, run_after=AFTER
        )
        ti = SimpleNamespace(
            try_number=1, dag_id="churn", task_id="plan", run_id="r", get_task_states=lambda **_: {}
        )
        made: Any = plan_run(
            "churn", params={"dry_run": True, **params}, dag_run=run, ti=ti, triggering_asset_events=events
        )
        return cast("dict[str, Any]", made if isinstance(made, dict) else made.value)

    return make


def put(storage: Storage, folder: Path, prefix: str) -> None:
    """Every file below the folder, those whose names begin with a dot too."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            storage.upload(path, f"{prefix}{path.relative_to(folder).as_posix()}")


def test_a_run_that_other_data_started_reads_the_date_of_that_data(
    storage: Storage, planning: Planning
) -> None:
    """And its plan says so; another date's prefix is not looked at."""
    storage.write("s3://bucket/in/date=2025-12-31/a.csv", "1,2,3\n" * 100)
    asset = SimpleNamespace(uri="s3://bucket/raw/")
    event = SimpleNamespace(asset=asset, extra={"data_time": "2025-12-31T00:00:00+00:00"})
    made = planning({"input.uri": "s3://bucket/in/date={date}/"}, {"raw": [event]})
    assert made["input"]["objects"] == 1
    assert datetime.fromisoformat(made["data_time"]) == datetime(2025, 12, 31, tzinfo=UTC)
    assert any(entry["text"].startswith("This run is for 2025-12-31 00:00 UTC") for entry in made["log"])


@pytest.mark.parametrize("region", [None, "eu-central-1"])
def test_the_plan_knows_the_region_of_the_pipeline_or_else_of_its_connection(
    storage: Storage, planning: Planning, region: str | None
) -> None:
    """The connection's is us-east-1, whose prices the table has."""
    bucket = "bucket"
    if region is not None:
        bucket = f"bucket-{region}"
        place = {"LocationConstraint": region}
        storage.client.create_bucket(Bucket=bucket, CreateBucketConfiguration=place)
    storage.write(f"s3://{bucket}/in/a.csv", "1,2,3\n" * 100)
    uris = {
        "work": f"s3://{bucket}/work",
        "input.uri": f"s3://{bucket}/in/",
        "output.uri": f"s3://{bucket}/out/",
    }
    made = planning({"region": region, **uris})
    assert made["region"] == (region or "us-east-1")
    assert any("use the prices of us-east-1" in entry["text"] for entry in made["log"]) is (
        region is not None
    )


@pytest.mark.parametrize("changes", [{}, WITHOUT_PREPROCESS])
def test_of_a_folder_that_spark_wrote_one_object_is_scored_and_four_are_said_to_be_left_out(
    storage: Storage, planning: Planning, changes: dict[str, Any]
) -> None:
    """What the job is given, what is verified afterwards and what is said agree."""
    put(storage, FAULTS / "spark-folder", "s3://bucket/spark/")
    columns = [{"name": "id"}, {"name": "age"}]
    changes = {**changes, "input.uri": "s3://bucket/spark/", "input.columns": columns}
    made = planning(changes, dry_run=False)
    assert made["input"]["objects"] == 1
    assert made["input"]["excluded"]["control_files"] == 4
    assert any(
        entry["text"].startswith("4 control files are left out, such as spark/.part-0")
        for entry in made["log"]
    )
    assert storage.read_json(f"{made['run_prefix']}plan.json")["log"] == made["log"]
    listing = storage.read(f"{made['run_prefix']}input.listing").decode().splitlines()
    assert [line.split(" ")[2] for line in listing] == ["'spark/part-0.csv'"]
    if made["layout"] is None:
        given = storage.read_json(f"{made['run_prefix']}input.manifest")
        assert given == [{"prefix": "s3://bucket/spark/"}, "part-0.csv"]
    else:
        kept = read_listing(storage, Plan.from_document(made, "the plan"))
        assert [each.key for each in kept] == ["spark/part-0.csv"]


@pytest.mark.parametrize("changes", [{}, WITHOUT_PREPROCESS])
def test_a_pipeline_over_our_own_output_reads_what_its_manifests_name(
    storage: Storage, planning: Planning, changes: dict[str, Any]
) -> None:
    """Not the parts of another try; and an object before the manifest in the listing makes it list again, once."""
    root = "s3://bucket/scored/"
    for day in (1, 2):
        folder = f"{root}date={day}/"
        for name in ("0-stray.csv", "part-0-a-1.csv", "part-0-a-2.csv", "_SUCCESS"):
            storage.write(f"{folder}{name}", "1,2\n" * 50)
        uri = f"{folder}part-0-a-2.csv"
        manifest = {
            "version": 1, "pipeline": "first", "run_id": f"r{day}", "output_uri": folder,
            "files": [{"uri": uri, "rows": 50, **storage.head(uri)}],
        }  # fmt: skip
        storage.write_json(f"{folder}_manifest.json", manifest)
    made = planning({**changes, "input.uri": root}, dry_run=False)
    listing = storage.read(f"{made['run_prefix']}input.listing").decode().splitlines()
    assert [line.split(" ")[2] for line in listing] == [
        f"'scored/date={day}/part-0-a-2.csv'" for day in (1, 2)
    ]
    excluded = made["input"]["excluded"]
    assert (excluded["unpublished"], excluded["control_files"], excluded["manifests"]) == (4, 2, 2)


@pytest.mark.parametrize("changes", [{}, WITHOUT_PREPROCESS])
def test_a_key_that_no_job_can_take_is_refused_before_anything_is_paid(
    storage: Storage, planning: Planning, changes: dict[str, Any]
) -> None:
    """A key that ends in a slash and holds data is not passed over either."""
    for key in ("a.csv", "sub/", "x//b.csv"):
        storage.client.put_object(Bucket="bucket", Key=f"bad/{key}", Body=b"1,2\n")
    with pytest.raises(
        RequestLintError, match=r"found 2 keys with an empty part .*'bad/sub/' and 'bad/x//b.csv'"
    ):
        planning({**changes, "input.uri": "s3://bucket/bad/"}, dry_run=False)


def test_a_manifest_that_airflow_may_not_read_is_an_error_that_says_what_to_allow() -> None:
    """Whether it is ours decides what is scored."""

    def refuse(code: str) -> Any:
        def read(_: str) -> bytes:
            raise ClientError({"Error": {"Code": code, "Message": "no"}}, "GetObject")

        return SimpleNamespace(read=read)

    with pytest.raises(
        PlanError, match=r"s3://b/in/_manifest.json cannot be read.*no; allow Airflow's role s3:GetObj"
    ):
        read_control_file(refuse("AccessDenied"), "s3://b/in/_manifest.json")
    assert read_control_file(refuse("NoSuchKey"), "s3://b/in/_manifest.json") is None
    with pytest.raises(ClientError):
        read_control_file(refuse("SlowDown"), "s3://b/in/_manifest.json")
