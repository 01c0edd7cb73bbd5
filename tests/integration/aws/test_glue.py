"""Each published date is a partition of a Glue table, where the pipeline asks for it."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from pydantic import ValidationError

from batch_inference.cli.laptop.environment import CREDENTIALS
from batch_inference.config.sections.glue_table import parse_partition_values, parse_table_location
from batch_inference.requests.iam import build_policies
from tests.integration.staged_runs import Pipelines, deployed, document
from tests.unit.builders import pipeline

__all__ = ["deployed"]

GLUE_TABLE = {"database": "sales", "table": "churn"}


@pytest.fixture
def glue(deployed: Pipelines) -> Any:
    """A client of moto's Glue, which serves at S3's address, with an empty database."""
    session = boto3.Session(CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"])
    client = session.client(
        "glue",
        endpoint_url=deployed.storage.client.meta.endpoint_url,
        region_name=CREDENTIALS["AWS_DEFAULT_REGION"],
    )
    client.create_database(DatabaseInput={"Name": "sales"})
    yield client
    client.delete_database(Name="sales")


def catalogued(**changes: Any) -> dict[str, Any]:
    """A pipeline whose runs are registered."""
    return document(output={"uri": "s3://bucket/out/date={date}/", "glue_table": GLUE_TABLE}, **changes)


def test_each_date_becomes_a_partition_also_when_it_is_run_again(deployed: Pipelines, glue: Any) -> None:
    """The first run makes the table; a second one of a date changes its partition and adds none."""
    deployed.write(catalogued())
    for attempt, day in (("a", 3), ("a", 4), ("b", 3)):
        deployed.upload(day, ["x,f,7"])
        done = deployed.run(f"run-{attempt}-{day}", day, lambda features: float(features[2]))
        done.run_all_tasks()
    assert done.xcoms["publish", "return_value"]["partition"] == "sales.churn/date=2026-01-03"
    table = glue.get_table(DatabaseName="sales", Name="churn")["Table"]
    assert table["PartitionKeys"] == [{"Name": "date", "Type": "string"}]
    assert table["StorageDescriptor"]["Location"] == "s3://bucket/out/"
    assert [(each["Name"], each["Type"]) for each in table["StorageDescriptor"]["Columns"]] == [
        ("id", "string"), ("sex", "string"), ("age", "bigint"), ("churn", "double"),
    ]  # fmt: skip
    partitions = glue.get_partitions(DatabaseName="sales", TableName="churn")["Partitions"]
    assert {(each["Values"][0], each["StorageDescriptor"]["Location"]) for each in partitions} == {
        (f"2026-01-0{day}", f"s3://bucket/out/date=2026-01-0{day}/") for day in (3, 4)
    }


def test_a_run_that_publishes_elsewhere_is_not_registered(deployed: Pipelines, glue: Any) -> None:
    """A trial by hand to another prefix makes no table of its own."""
    deployed.write(catalogued())
    deployed.upload(3, ["x,f,7"])
    done = deployed.run("trial", 3, lambda _: 1.0, output_uri="s3://bucket/trial/")
    done.run_all_tasks()
    assert done.xcoms["publish", "return_value"]["partition"] is None
    assert glue.get_tables(DatabaseName="sales")["TableList"] == []


@pytest.mark.parametrize(
    ("uri", "root", "keys"),
    [
        ("s3://b/out/date={date}", "s3://b/out/", ("date",)),
        ("s3://b/out/date={date}/hour={hour}/", "s3://b/out/", ("date", "hour")),
        ("s3://b/out/", "s3://b/out/", ()),
    ],
)
def test_partitions_are_read_from_the_output_uri(uri: str, root: str, keys: tuple[str, ...]) -> None:
    """As Hive writes them."""
    assert parse_table_location(uri) == (root, keys)


def test_only_an_output_of_the_same_shape_is_a_partition() -> None:
    """Others are not registered under values that mean something else."""
    template = "s3://b/out/date={date}/hour={hour}/"
    assert parse_partition_values("s3://b/out/date=2026-01-03/hour=07/", template) == ["2026-01-03", "07"]
    for other in ("s3://b/out/date=2026-01-03/", "s3://b/out/", "s3://c/out/date=1/hour=2/"):
        assert parse_partition_values(other, template) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"output.uri": "s3://data/out/"}, "last folders are partitions"),
        ({"output.uri": "s3://data/{run_id}/date={date}/"}, "placeholders nowhere else"),
        ({"output.uri": "s3://data/out/{date}/"}, "last folders are partitions"),
        ({"output.uri": "s3://data/out/age={date}/"}, "'age' as a partition of output.uri and as a column"),
        ({"join.format": "csv"}, "found join.format csv; allowed are parquet and jsonlines"),
        ({"output.glue_table": {"database": "Sales", "table": "t"}}, "pattern"),
    ],
)
def test_an_output_that_cannot_be_such_a_table_is_refused(changes: dict[str, Any], message: str) -> None:
    """When the file is read."""
    with pytest.raises(ValidationError, match=message):
        pipeline({"output.glue_table": GLUE_TABLE, **changes})


def test_airflows_role_may_register_in_that_table_alone() -> None:
    """And nothing of the catalog where the pipeline names no table."""
    plain, registering = (
        [
            statement
            for statement in build_policies(pipeline(changes), region="eu-west-1")["airflow"]["Statement"]
            if statement["Sid"] == "Catalog"
        ]
        for changes in ({}, {"output.glue_table": GLUE_TABLE})
    )
    assert plain == []
    assert registering[0]["Resource"] == [
        f"arn:aws:glue:eu-west-1:123456789012:{name}"
        for name in ("catalog", "database/sales", "table/sales/churn")
    ]
