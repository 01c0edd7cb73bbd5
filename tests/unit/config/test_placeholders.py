"""URIs take {date}, {hour} and {run_id}, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from batch_inference.common.errors import PlaceholderError
from batch_inference.config.placeholders import check_placeholders, fill_placeholders

MOMENT = datetime(2026, 1, 31, 23, 30, tzinfo=UTC)


def test_every_placeholder_is_filled_and_the_rest_is_left_alone() -> None:
    text = "s3://b/in/date={date}/hour={hour}/{run_id}/{date}.csv"
    assert (
        fill_placeholders(text, data_time=MOMENT, run_id="manual_1")
        == "s3://b/in/date=2026-01-31/hour=23/manual_1/2026-01-31.csv"
    )
    assert fill_placeholders("s3://b/in/", data_time=MOMENT, run_id="x") == "s3://b/in/"


def test_day_and_hour_are_those_of_utc() -> None:
    in_tokyo = MOMENT.astimezone(timezone(timedelta(hours=9)))
    assert in_tokyo.day == 1
    assert fill_placeholders("{date} {hour}", data_time=in_tokyo, run_id="x") == "2026-01-31 23"


def test_a_run_id_cannot_add_path_segments() -> None:
    filled = fill_placeholders(
        "s3://b/{run_id}/", data_time=MOMENT, run_id="manual__2026-01-31T07:00:00+00:00/../../x"
    )
    assert filled.count("/") == 4
    assert ":" not in filled.removeprefix("s3:")


@pytest.mark.parametrize(
    "text",
    ["{day}", "{}", "{Date}", "{ date }", "{{ ds }}", "{{date}}", "{% x %}", "{date", "date}", "{a{date}}"],
)
def test_anything_else_in_braces_is_refused_before_a_run_exists(text: str) -> None:
    with pytest.raises(PlaceholderError, match=r"allowed are '\{date\}', '\{hour\}' and '\{run_id\}'"):
        check_placeholders(f"s3://b/{text}/")


def test_a_moment_without_a_time_zone_is_refused() -> None:
    with pytest.raises(PlaceholderError, match="no time zone"):
        fill_placeholders("{date}", data_time=datetime(2026, 1, 31), run_id="x")
