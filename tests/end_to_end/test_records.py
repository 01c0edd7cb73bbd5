"""Every record is accounted for, whatever comes in and whatever the model does: published, rejected, or nothing at all.

All runs share one Airflow and go on at the same time; what each of them published is read back.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import threading
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import pandas
import pytest
from botocore.exceptions import ClientError

from batch_inference.common.s3_uri import split_s3_uri
from tests.end_to_end.deployment import Deployment
from tests.end_to_end.moody import (
    BUCKET,
    POISON,
    build_pipeline_change,
    compute_expected,
    is_sound,
    lines,
    make_dirty_records,
    poison_records,
    records,
)

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(1800)]

#: Runs that go on at the same time, as tasks on two cores are slow to start.
AT_A_TIME = 3
#: Records of one object of 8.8 MB, which is uploaded in parts; `make bench-objects` has larger ones.
LARGE = 520_000
SHARED = f"{BUCKET}/records/shared/"
#: Two pipelines of one output, by the files that they read.
RACERS = {"records_parquet": "parquet", "records_small": "csv"}
#: Under which `Shared` has the third run.
LARGE_RUN = "the large run"
MIXED_UP = "records_mixed_up"

#: 5 % dirty, gzip, and three records that the model cannot take: two of them neighbours.
BAD_PLACES = (600, 601, 2_400)
MIXED = poison_records(make_dirty_records("g", 3_000), *BAD_PLACES)
SOUND = [row for row in MIXED if is_sound(row) and POISON not in row]


class Reader:
    """Reads what is published again and again, by the manifest, as a consumer does.

    Attributes: `looks`, the set of leading letters of ids, rows and rows promised, at each look.
    """

    def __init__(self, deployment: Deployment, prefix: str) -> None:
        self.deployment, self.prefix = deployment, prefix
        self.stopped = threading.Event()
        self.looks: list[tuple[str, int, int]] = []

    def watch(self) -> None:
        """Look until stopped."""
        while not self.stopped.wait(0.3):
            self.look()

    def look(self) -> None:
        bucket, key = split_s3_uri(self.prefix)
        get = self.deployment.s3.get_object
        try:
            manifest = json.load(get(Bucket=bucket, Key=f"{key}_manifest.json")["Body"])
            contents = [
                get(Bucket=bucket, Key=split_s3_uri(file["uri"])[1])["Body"].read()
                for file in manifest["files"]
            ]
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchKey":
                assert not self.looks, "what is published can be read for the grace time after it is replaced"
                return
            raise
        frames = [pandas.read_parquet(io.BytesIO(content), columns=["id"]) for content in contents]
        ids = pandas.concat(frames).id
        assert ids.is_unique
        self.looks.append(("".join(sorted(set(ids.str[0]))), len(ids), manifest["rows"]))


#: Run id and final state, by pipeline.
Runs = dict[str, tuple[str, str]]
Shared = tuple[Runs, Reader]


def put(deployment: Deployment, key: str, content: bytes) -> None:
    """Upload one input object."""
    deployment.s3.put_object(Bucket=split_s3_uri(BUCKET)[0], Key=f"records/in/{key}", Body=content)


def run_all(deployment: Deployment, names: Iterable[str]) -> Runs:
    """One run of each pipeline, a few at a time."""
    names = list(names)
    for name in names:
        deployment.unpause(name)

    def run(name: str) -> tuple[str, str]:
        run_id = deployment.trigger(name, {"transform_instance_count": 2})
        return run_id, deployment.wait(name, run_id, seconds=900)

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        return dict(zip(names, pool.map(run, names), strict=True))


@pytest.fixture(scope="module")
def poison(deployment: Deployment) -> Runs:
    """The mixed input, packed, with a model that dies on records and one that refuses more than may be rejected; and
    two hundred sound records, with a model that answers them in another order.
    """
    packed = gzip.compress(lines(MIXED))
    for name, mood, most in (
        ("records_dies", "dies on a record", 0.10),
        ("records_refuses", "refuses a record", 151),
    ):
        put(deployment, f"{name}/all.csv.gz", packed)
        deployment.write_pipeline(name, build_pipeline_change(name, mood, "gzip", max_rejected=most))
    put(deployment, f"{MIXED_UP}/all.csv", lines(records("m", 200)))
    deployment.write_pipeline(MIXED_UP, build_pipeline_change(MIXED_UP, "permutes rows"))
    return run_all(deployment, ["records_dies", "records_refuses", MIXED_UP])


@pytest.fixture(scope="module")
def shared(deployment: Deployment) -> Shared:
    """Two pipelines that publish to one place at once, then a large run of the one that did; and a reader."""
    small = records("s", 6_000)
    for n in range(2_000):
        put(deployment, f"records_small/{n % 10}/{n:04d}.csv", lines(small[3 * n : 3 * n + 3]))
    put(deployment, "records_parquet/all.parquet", table_of(records("p", 5_000)))
    put(deployment, "large/csv/all.csv", lines(records("l", LARGE)))
    put(deployment, "large/parquet/all.parquet", table_of(records("l", LARGE)))
    for name, kind in RACERS.items():
        deployment.write_pipeline(name, build_pipeline_change(name, "sound", kind, output={"uri": SHARED}))
    reader = Reader(deployment, SHARED)
    watching = ThreadPoolExecutor(1).submit(reader.watch)
    try:
        runs = run_all(deployment, RACERS)
        winner = next(name for name in RACERS if runs[name][1] == "success")
        conf = {"input_uri": f"{BUCKET}/records/in/large/{RACERS[winner]}/", "transform_instance_count": 2}
        run_id = deployment.trigger(winner, conf)
        runs[LARGE_RUN] = run_id, deployment.wait(winner, run_id, seconds=900)
    finally:
        reader.stopped.set()
    watching.result()
    reader.look()
    return runs, reader


def table_of(rows: list[str]) -> bytes:
    """The rows as a Parquet object."""
    table = io.BytesIO()
    compute_expected(rows).drop(columns="score").to_parquet(table)
    return table.getvalue()


def test_one_record_that_kills_the_model_is_rejected_and_all_others_are_scored(
    deployment: Deployment, poison: Runs
) -> None:
    """Five percent dirty rows in a gzip, and three records at which the model dies: in = scored + rejected."""
    run_id, state = poison["records_dies"]
    assert state == "success", deployment.task_log("records_dies", run_id, "await_transform")[-3000:]
    published, manifest = deployment.read_published(f"{BUCKET}/records/out/records_dies/")
    pandas.testing.assert_frame_equal(published, compute_expected(SOUND), check_dtype=False)
    counts = manifest["records"]
    assert (counts["in"], counts["scored"]) == (len(MIXED), len(SOUND))
    assert counts["rejected"] == len(MIXED) - len(SOUND)
    assert counts["rejected_by_reason"]["refused by the model"] == len(BAD_PLACES)
    result = deployment.xcom("records_dies", run_id, "await_transform")
    rejects = deployment.objects(result["resolution"]["rejects"])
    found = [json.loads(line) for content in rejects.values() for line in content.decode().splitlines()]
    assert [each["text"] for each in found] == [MIXED[place] for place in BAD_PLACES]
    assert {each["reason"] for each in found} == {"Unable to get response from algorithm"}
    assert [each["status"] for each in result["earlier_attempts"]] == ["Failed"] * 3
    page = deployment.objects(f"{deployment.xcom('records_dies', run_id, 'plan')['run_prefix']}report")
    details = json.loads(page[".json"])["reject_details"]
    assert details["prefixes"][-1] == result["resolution"]["rejects"]
    refused = next(group for group in details["groups"] if group["rule"] == "refused by the model")
    assert refused["records"] == len(BAD_PLACES)
    assert refused["examples"][0]["found"] == "Unable to get response from algorithm"


def test_more_refused_records_than_max_rejected_allows_publish_nothing(
    deployment: Deployment, poison: Runs
) -> None:
    """It fails after the second job, before a third is paid for, and says the numbers and the model's own words."""
    run_id, state = poison["records_refuses"]
    assert state == "failed"
    log = deployment.task_log("records_refuses", run_id, "await_transform")
    assert "max_rejected allows 151" in log
    assert f"ValueError: x is {POISON}, allowed is 0 or more" in log
    assert "Starting attempt 2" in log
    assert "Starting attempt 3" not in log
    assert deployment.objects(f"{BUCKET}/records/out/records_refuses/") == {}


def test_a_model_that_answers_wrongly_publishes_nothing(deployment: Deployment, poison: Runs) -> None:
    """The run fails at the join, at once; tests/integration/dag/test_wrong_predictions.py has more ways to be wrong."""
    run_id, state = poison[MIXED_UP]
    states = deployment.states(MIXED_UP, run_id)
    assert (state, states["await_transform"], states["publish"]) == ("failed", "success", "upstream_failed")
    log = deployment.task_log(MIXED_UP, run_id, "join")
    assert re.search(r"id is '[a-z]+\d+', but its prediction is for '[a-z]+\d+'", log), log[-3000:]
    assert "up_for_retry" not in log
    assert deployment.objects(f"{BUCKET}/records/out/{MIXED_UP}/") == {}


def test_of_two_pipelines_that_publish_to_one_place_at_once_one_is_refused(
    deployment: Deployment, shared: Shared
) -> None:
    """5,000 rows of Parquet and 2,000 small objects: who comes second says whose the place is, and is not retried."""
    runs = {state: (name, run_id) for name, (run_id, state) in shared[0].items() if name in RACERS}
    assert set(runs) == {"success", "failed"}, shared[0]
    name, run_id = runs["failed"]
    log = "".join(deployment.task_log(name, run_id, task) for task in ("plan", "publish"))
    assert f"is the manifest of the pipeline '{runs['success'][0]}'" in log
    assert "up_for_retry" not in log


def test_large_and_small_objects_and_parquet_are_published_whole(
    deployment: Deployment, shared: Shared
) -> None:
    """520,000 rows of one object are there; what they replaced is named by their manifest, and nothing else is."""
    run_id, state = shared[0][LARGE_RUN]
    assert state == "success"
    published, manifest = deployment.read_published(SHARED)
    pandas.testing.assert_frame_equal(published, compute_expected(records("l", LARGE)), check_dtype=False)
    files = {file["uri"].removeprefix(SHARED) for file in manifest["files"]}
    replaced = {file["uri"].removeprefix(SHARED) for file in manifest["replaces"]}
    assert replaced
    assert set(deployment.objects(SHARED)) == {*files, *replaced, "_manifest.json", "_SUCCESS"}
    winner = manifest["pipeline"]
    assert deployment.xcom(winner, run_id, "await_transform")["instance_count"] == 2
    small = deployment.xcom("records_small", shared[0]["records_small"][0], "await_preprocess", "shard_stats")
    assert (small["records_in"], small["records_out"]) == (6_000, 6_000)
    assert small["count"] < 100, "two thousand objects became few shards"


def test_a_reader_that_follows_the_manifest_never_sees_a_mix(deployment: Deployment, shared: Shared) -> None:
    """It has looked all the time, while two pipelines raced and a third run took their place."""
    whole = {"p": 5_000, "s": 6_000, "l": LARGE}
    seen = Counter(kind for kind, _, _ in shared[1].looks)
    assert all(rows == promised == whole[kind] for kind, rows, promised in shared[1].looks), shared[1].looks
    assert shared[1].looks[-1][0] == "l"
    assert len(seen) >= 2, "the reader saw what was replaced"
