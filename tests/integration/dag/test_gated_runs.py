"""Runs from plan to report on a real S3: gates hold them, people publish them, nothing is done twice for nothing."""

from __future__ import annotations

import hashlib
import re
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from batch_inference.common.errors import PlanError, RunHeldByGatesError, RunNotHeldError
from batch_inference.dag.tasks import checks, plan
from batch_inference.dag.tasks.clean_up import judge_run
from batch_inference.planning.plan import Plan
from batch_inference.publishing.earlier_runs import check_pinned_statistics
from batch_inference.reporting.charts import build_charts
from batch_inference.reporting.report import render_text
from batch_inference.run import task_ids
from tests.integration.staged_runs import Pipelines, Run, deployed, document, published
from tests.unit.builders import pipeline

__all__ = ["deployed"]

OUT = "s3://bucket/out/date=2026-01-{:02d}/"


def rows(count: int, *, empty: str = "f", every: int = 10) -> list[str]:
    """Records; of the group `empty` every so manieth has no age, which a rule rejects."""
    sexes = "fm"
    return [
        f"r{n},{sexes[n % 2]},{'' if sexes[n % 2] == empty and n // 2 % every == 0 else n % 80}"
        for n in range(count)
    ]


def age(features: list[str]) -> float:
    """A model that answers the age."""
    return float(features[2])


def constant(_: list[str]) -> float:
    """A model that has broken: one answer for all."""
    return 1.0


def run(deployed: Pipelines, day: int, model: Any = age, count: int = 200, **more: Any) -> Run:
    """A run over input of a day, which is uploaded."""
    deployed.upload(day, rows(count))
    return deployed.run(f"nightly-{day}", day, model, **more)


CONSTANT = {"gate": "constant", "column": "churn", "then": "hold"}


def test_a_run_without_gates_publishes_with_checksums_and_what_it_was_made_from(deployed: Pipelines) -> None:
    """Manifest and report say what was read, from which bytes, and what came out."""
    deployed.write(document(sensitive=[{"column": "sex"}]))
    done = run(deployed, 5)
    done.run_all_tasks()
    frame, manifest = published(deployed.storage, OUT.format(5))
    assert len(frame) == manifest["rows"] == 190
    assert (frame["churn"] == frame["age"]).all()
    (file,) = manifest["files"]
    content = deployed.storage.read(file["uri"])
    assert file["sha256"] == hashlib.sha256(content).hexdigest()
    assert manifest["bytes"] == file["size"] == len(content)
    listing = deployed.storage.read(manifest["input"]["listing_uri"])
    assert hashlib.sha256(listing).hexdigest() == manifest["input"]["digest"]
    etag = deployed.storage.head("s3://bucket/in/date=2026-01-05/a.csv")["etag"]
    assert etag in listing.decode()
    assert manifest["checks"]["state"] == "passed"


def test_the_report_has_profiles_and_figures_by_group(deployed: Pipelines) -> None:
    """Ten of a hundred women are rejected and no man; the mean prediction and selection rate of each."""
    deployed.write(
        document(
            sensitive=[{"column": "sex", "in_features": True}],
            predictions={"fields": {"score": "churn"}, "selected": {"column": "churn", "min": 40}},
        )
    )
    done = run(deployed, 5)
    quality = done.json(done.run_all_tasks()["report_json"])["quality"]
    (by_sex,) = quality["groups"]
    women, men = by_sex["groups"]
    assert (women["group"], women["records"], women["rejected"], women["scored"]) == ("f", 100, 10, 90)
    assert women["rejected_by_rule"] == {"age present": 10}
    assert (men["records"], men["rejected"], men["scored"]) == (100, 0, 100)
    assert by_sex["rejected_share"] == {"difference": pytest.approx(0.1), "ratio": 0.0}
    frame, _ = published(deployed.storage, OUT.format(5))
    for group in (women, men):
        own = frame[frame["sex"] == group["group"]]
        assert group["mean_prediction"]["churn"] == pytest.approx(own["churn"].mean())
        assert group["selection_rate"] == pytest.approx((own["churn"] >= 40).mean())
    assert by_sex["selection_rate"]["difference"] == pytest.approx(
        abs(women["selection_rate"] - men["selection_rate"])
    )
    assert by_sex["selected"] == {"column": "churn", "min": 40.0}
    assert quality["predictions"]["churn"]["max"] == 79
    assert sum(quality["predictions"]["churn"]["histogram"]["counts"]) == 190
    assert quality["columns"]["sex"]["values"] == {"m": 100, "f": 90}
    assert done.json(quality["profile"])["columns"]["age"]["sketch"]


def test_the_report_shows_the_predictions_of_the_run_published_before(deployed: Pipelines) -> None:
    """The first run has none before it; a later one has those of the last one for an earlier night."""
    deployed.write(document())
    first, second = run(deployed, 5), run(deployed, 6, constant)
    qualities = [each.json(each.run_all_tasks()["report_json"])["quality"] for each in (first, second)]
    assert qualities[0]["previous"] is None
    assert qualities[1]["previous"]["run_id"] == "nightly-5"
    assert qualities[1]["previous"]["predictions"] == qualities[0]["predictions"]
    assert qualities[1]["predictions"] != qualities[0]["predictions"]
    drawn = {picture.name: picture for picture in build_charts(second.json(second.paths.report_json))}
    assert [text for text, _ in drawn["predictions-0"].legend] == ["This run", "Previous run"]


def test_a_gate_on_groups_holds_a_run_that_rejects_one_more_than_the_other(deployed: Pipelines) -> None:
    """The transform is paid for by then; what it scored is kept."""
    gate = {"gate": "group_rejects", "column": "sex", "max_ratio": 2, "then": "hold"}
    deployed.write(document(sensitive=[{"column": "sex"}], gates=[gate]))
    with pytest.raises(
        RunHeldByGatesError, match="sex f: 10 of 100 records are rejected by rules, and none of the others"
    ):
        run(deployed, 5).run_all_tasks()


def test_a_held_run_publishes_nothing_keeps_everything_and_fails(deployed: Pipelines) -> None:
    """Also its statistics are kept; later runs are not compared with it."""
    deployed.write(document(gates=[CONSTANT]))
    held = run(deployed, 5, constant)
    with pytest.raises(
        RunHeldByGatesError, match=r'all 190 predictions are 1.*\{"publish_run": "nightly-5"\}'
    ):
        held.run_all_tasks()
    assert deployed.storage.list_uris("s3://bucket/out/") == []
    assert deployed.storage.list_uris("s3://bucket/work/churn/_published/") == []
    assert held.json(held.paths.checks)["state"] == "held"
    assert held.json(held.paths.statistics)["rows"] == 190
    assert deployed.storage.list_uris(f"{held.paths.root}joined/")
    assert held.xcoms[task_ids.CHECKS, "state"] == "held"
    states = {"plan": "success", "checks": "failed"}
    assert judge_run(None, states, [], shard_stats=None, is_held=True).kind == "held"


def test_a_warning_publishes_and_stands_in_manifest_and_report(deployed: Pipelines) -> None:
    """The same finding, with `then: warn`."""
    deployed.write(document(gates=[{**CONSTANT, "then": "warn"}]))
    done = run(deployed, 5, constant)
    done.run_all_tasks()
    (gate,) = published(deployed.storage, OUT.format(5))[1]["checks"]["gates"]
    text = render_text(done.json(done.paths.report_json))
    assert "warned        churn: all 190 predictions are 1\n" in text
    assert (gate["outcome"], gate["sentence"]) == ("warned", "churn: all 190 predictions are 1")


def test_a_person_publishes_a_held_run_as_it_is(deployed: Pipelines) -> None:
    """Without a job: to the place that run was for, with its report; the gates are reported and hold nothing."""
    deployed.write(document(gates=[CONSTANT]))
    with pytest.raises(RunHeldByGatesError):
        run(deployed, 5, constant).run_all_tasks()
    release = deployed.run("manual-1", 9, age, publish_run="nightly-5")
    done = release.run_all_tasks()
    assert release.skipped == task_ids.CHECKS
    frame, manifest = published(deployed.storage, OUT.format(5))
    assert (len(frame), manifest["run_id"]) == (190, "nightly-5")
    assert manifest["checks"]["judged_in"] == "manual-1"
    assert manifest["checks"]["gates"][0]["outcome"] == "held"
    assert deployed.events.events[-1]["run_id"] == "nightly-5"
    assert release.json(done["report_json"])["records"]["scored"] == 190
    assert done["report_json"].startswith("s3://bucket/work/churn/nightly-5/")
    assert judge(release) == "failed"
    with pytest.raises(RunNotHeldError, match="has been published by hand already"):
        deployed.run("manual-2", 9, age, publish_run="nightly-5").run_all_tasks()


def test_a_held_run_that_was_planned_anew_is_no_longer_what_was_judged(deployed: Pipelines) -> None:
    """A clear makes another plan; until its own checks have held it, there is nothing to publish by hand."""
    deployed.write(document(gates=[CONSTANT]))
    with pytest.raises(RunHeldByGatesError):
        run(deployed, 5, constant).run_all_tasks()
    run(deployed, 5, constant).task(task_ids.PLAN, plan.plan_run)
    with pytest.raises(RunNotHeldError, match="never got as far as its checks"):
        deployed.run("manual-1", 9, age, publish_run="nightly-5").run_all_tasks()


def test_files_of_a_release_are_never_those_of_the_runs_own_publishing(deployed: Pipelines) -> None:
    """Both count their tries from one, and nobody's files are overwritten while they are read."""
    deployed.write(document(gates=[CONSTANT]))
    with pytest.raises(RunHeldByGatesError):
        run(deployed, 5, constant).run_all_tasks()
    deployed.run("manual-1", 9, age, publish_run="nightly-5").run_all_tasks()
    (name,) = [
        file["uri"].rsplit("/", 1)[1] for file in published(deployed.storage, OUT.format(5))[1]["files"]
    ]
    assert re.fullmatch(r"part-00000-nightly-5-[0-9a-f]{6}-1-[0-9a-f]{8}\.parquet", name), name


def test_a_release_that_died_half_way_is_done_again(deployed: Pipelines) -> None:
    """Its parts may lie there already, uncommitted."""
    deployed.write(document(gates=[CONSTANT]))
    with pytest.raises(RunHeldByGatesError):
        run(deployed, 5, constant).run_all_tasks()
    died = deployed.run("manual-1", 9, age, publish_run="nightly-5")
    died.task(task_ids.PLAN, plan.plan_run)
    died.task(
        task_ids.CHECKS,
        checks.run_checks,
        joined=[],
    )
    deployed.run("manual-2", 9, age, publish_run="nightly-5").run_all_tasks()
    assert len(published(deployed.storage, OUT.format(5))[0]) == 190


def test_only_a_held_run_can_be_published_by_hand(deployed: Pipelines) -> None:
    """Unknown, not yet checked, and published runs are refused, each with its reason, before anything is done."""
    deployed.write(document(gates=[CONSTANT]))
    run(deployed, 5).run_all_tasks()
    planned = run(deployed, 6)
    planned.task(task_ids.PLAN, plan.plan_run)
    for run_id, message in (
        ("nightly-7", "there is no run of it below s3://bucket/work/churn/nightly-7/"),
        ("nightly-6", "never got as far as its checks"),
        ("nightly-5", "was not held by its gates"),
    ):
        with pytest.raises(RunNotHeldError, match=message):
            deployed.run("manual-1", 9, age, publish_run=run_id).run_all_tasks()


def test_runs_are_compared_with_the_one_published_before(deployed: Pipelines) -> None:
    """By rows and by distribution; the first has nothing to be compared with, and a held one is not compared with."""
    gates = [
        {"gate": "rows", "min_ratio": 0.5, "max_ratio": 2, "then": "hold"},
        {"gate": "drift", "column": "churn", "max_psi": 0.25, "min_p_value": 0.0001, "then": "hold"},
    ]
    deployed.write(document(gates=gates))
    first = run(deployed, 1)
    first.run_all_tasks()
    outcomes = [gate["outcome"] for gate in first.json(first.paths.checks)["gates"]]
    assert outcomes == ["unknown", "unknown"]
    run(deployed, 2).run_all_tasks()
    with pytest.raises(
        RunHeldByGatesError, match=r"76 rows are 0.40 times the 190 of the last 2 published runs"
    ):
        run(deployed, 3, count=80).run_all_tasks()
    with pytest.raises(
        RunHeldByGatesError, match=r"compared with the run published before: PSI .* Kolmogorov-Smirnov"
    ):
        run(deployed, 4, lambda features: age(features) + 40).run_all_tasks()
    run(deployed, 5).run_all_tasks()
    # A run for a day before is compared with what was published for days before it.
    late = deployed.run("backfill-2", 2, age)
    late.run_all_tasks()
    assert "the 190 of the last published run" in late.json(late.paths.checks)["gates"][0]["sentence"]


def test_a_pinned_baseline_is_read_from_the_run_that_it_names(deployed: Pipelines) -> None:
    """`against` holds the URI of its statistics.json, which the report tells."""
    deployed.write(document())
    good = run(deployed, 1)
    uri = good.json(good.run_all_tasks()["report_json"])["quality"]["statistics"]
    drift = {"gate": "drift", "column": "churn", "max_psi": 0.25, "against": uri, "then": "hold"}
    deployed.write(document(gates=[drift]))
    run(deployed, 2).run_all_tasks()
    with pytest.raises(RunHeldByGatesError, match=uri):
        run(deployed, 3, lambda features: -age(features)).run_all_tasks()


def test_a_pinned_baseline_that_is_not_there_stops_the_plan(deployed: Pipelines) -> None:
    """Before any job is paid for, with the gate and the URI; where there is nothing to score nobody needs it."""
    uri = "s3://bucket/work/churn/gone/statistics.json"
    drift = {"gate": "drift", "column": "churn", "max_psi": 0.25, "against": uri, "then": "hold"}
    deployed.write(document(gates=[CONSTANT, drift]))
    with pytest.raises(PlanError) as caught:
        run(deployed, 4).run_all_tasks()
    assert str(caught.value).startswith(f"gates[1].against: found {uri}, which does not exist (S3 says 404)")
    empty = deployed.run("nightly-28", 28, age)
    assert empty.run_all_tasks() == {}


@pytest.mark.parametrize(("code", "expected"), [("403", PlanError), ("SlowDown", ClientError)])
def test_a_pinned_baseline_that_may_not_be_read_stops_the_plan_and_a_busy_s3_does_not(
    code: str, expected: type[Exception]
) -> None:
    """What another try may mend is raised as it is, so that Airflow tries again."""
    uri = "s3://bucket/a/statistics.json"

    def head(_: str) -> None:
        raise ClientError({"Error": {"Code": code, "Message": "no"}}, "HeadObject")

    drift = {"gate": "drift", "column": "churn", "max_psi": 0.25, "against": uri, "then": "hold"}
    with pytest.raises(expected, match=rf"(?s){code}"):
        check_pinned_statistics(SimpleNamespace(head=head), pipeline({"gates": [drift]}))  # type: ignore[arg-type]


def skipping(**changes: Any) -> dict[str, Any]:
    """A pipeline that publishes to one place and skips what is there already."""
    return document(
        skip_unchanged=True,
        input={**document()["input"], "uri": "s3://bucket/in/date=2026-01-05/"},
        output={"uri": "s3://bucket/out/"},
        **changes,
    )


def judge(run: Any) -> str:
    """The kind of outcome of a run in which all tasks after `plan` were skipped."""
    planned = Plan.from_document(run.xcoms[task_ids.PLAN, "return_value"], "plan")
    skipped = {"plan": "success", "publish": "skipped"}
    return judge_run(planned, skipped, [], shard_stats=None, is_held=False).kind


def test_an_unchanged_run_ends_without_a_job_and_says_so(deployed: Pipelines) -> None:
    """As long as input, model and pipeline are those of what is published, and that is still there."""
    deployed.write(skipping())
    first = run(deployed, 5)
    first.run_all_tasks()
    again = deployed.run("nightly-6", 6, age)
    assert again.run_all_tasks() == {}
    assert again.xcoms[task_ids.PLAN, "return_value"]["unchanged_since"] == "nightly-5"
    assert judge(again) == "unchanged"
    forced = deployed.run("manual-1", 6, age, skip_unchanged=False)
    assert forced.run_all_tasks()["records"]["scored"] == 190


@pytest.mark.parametrize(
    "change",
    [
        lambda deployed: deployed.upload(5, rows(201)),
        lambda deployed: deployed.upload(5, ["x,f,1"], name="b.csv"),
        lambda deployed: deployed.storage.write("s3://bucket/model/a.tar.gz", "another model"),
        lambda deployed: deployed.write(skipping(join={"format": "csv"})),
        lambda deployed: deployed.storage.delete(
            [uri for uri in deployed.storage.list_uris("s3://bucket/out/") if "part-" in uri]
        ),
        lambda deployed: deployed.storage.delete(["s3://bucket/out/_manifest.json"]),
    ],
    ids=["input object", "more input", "model archive", "pipeline", "parts are gone", "manifest is gone"],
)
def test_whatever_changes_the_rows_is_no_reason_to_skip(deployed: Pipelines, change: Any) -> None:
    """Also an object replaced under its name, of the input or of the model."""
    deployed.write(skipping())
    run(deployed, 5).run_all_tasks()
    change(deployed)
    again = deployed.run("nightly-6", 6, age)
    assert again.run_all_tasks()["records"]["in"] > 0
    assert not again.skipped


def test_what_the_rows_do_not_depend_on_is_none_either(deployed: Pipelines) -> None:
    """A description, a schedule, goals."""
    deployed.write(skipping())
    run(deployed, 5).run_all_tasks()
    deployed.write(skipping(description="Other words.", goals={"prefer": "speed"}, tags={"team": "x"}))
    again = deployed.run("nightly-6", 6, age)
    assert again.run_all_tasks() == {}


def test_ten_dates_give_ten_right_partitions_twice_in_a_row(deployed: Pipelines) -> None:
    """A backfill, and the same again: each date has its own rows, once, and nothing else lies there."""
    deployed.write(document(output={"uri": "s3://bucket/out/date={date}/", "grace_minutes": 0}))
    for day in range(1, 11):
        deployed.upload(day, [f"r{day}-{n},f,{day}" for n in range(day)])
    for attempt in ("first", "second"):
        for day in range(1, 11):
            deployed.run(f"backfill-{attempt}-{day}", day, age).run_all_tasks(with_report=False)
        for day in range(1, 11):
            frame, manifest = published(deployed.storage, OUT.format(day))
            assert frame["id"].tolist() == [f"r{day}-{n}" for n in range(day)]
            assert (frame["churn"] == day).all()
            assert manifest["run_id"] == f"backfill-{attempt}-{day}"
            listed = {
                uri.removeprefix(OUT.format(day)) for uri in deployed.storage.list_uris(OUT.format(day))
            }
            parts = {file["uri"].removeprefix(OUT.format(day)) for file in manifest["files"]}
            assert listed == {*parts, "_manifest.json", "_SUCCESS"}
