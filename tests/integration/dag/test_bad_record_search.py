"""Finding the records that a model refuses, job by job, on S3 and logs; the jobs are carried out by the test."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batch_inference.aws.s3 import Storage
from batch_inference.common.names import JobPaths, build_name_token
from batch_inference.dag.bad_record_search import _request_bytes, shorten_reason
from batch_inference.dag.continuation import BadRecordContinuation
from batch_inference.pricing.costs import load_prices
from batch_inference.run.join_inputs import read_merged_shards
from sagemaker_jobs.airflow_compat import AirflowFailException
from sagemaker_jobs.errors import JobFailed, JobFailedPermanently, QuotaExceeded
from sagemaker_jobs.job.describe import Job
from sagemaker_jobs.job.spec import JobSpec, Trial
from sagemaker_jobs.job.submit import ensure_job
from sagemaker_jobs.kinds import TRANSFORM
from sagemaker_jobs.sensors import TransformJobSensor
from tests.integration.plan_builder import write_plan
from tests.integration.sagemaker_jobs.builders import context_of
from tests.integration.sagemaker_jobs.fake_sagemaker import REGION, FakeSageMaker, quota_message
from tests.moto_server import running_moto
from tests.unit.builders import pipeline

RUN = "s3://bucket/work/churn/run-1/"
NONCE = "0123456789abcdef"
WROTE = JobPaths(f"{RUN}churn-preprocess-0123-1/")
INTERNAL = "InternalServerError: We encountered an internal error.  Please try again."


@dataclass
class World:
    """AWS, and a run that has preprocessed its shards."""

    aws: FakeSageMaker
    hook: SageMakerHook
    storage: Storage
    logs: Any
    config: Any = None
    shards: dict[str, list[str]] = field(default_factory=dict)
    poison: set[str] = field(default_factory=set)
    least: int = 1
    seen: list[list[str]] = field(default_factory=list)
    spec: JobSpec = field(init=False)

    def prepare(
        self, shards: dict[str, list[str]], poison: set[str], *, rejected: int = 0, **plan: Any
    ) -> None:
        """Write what `preprocess` and `await_preprocess` leave; features are the records' first cells."""
        self.aws.reset()
        self.storage.delete(self.storage.list_uris("s3://bucket/"))
        self.shards, self.poison, self.seen, self.least = shards, poison, [], 1
        documents = []
        for name, records in shards.items():
            features = [next(csv.reader(io.StringIO(record)))[0] for record in records]
            document = {
                "name": name,
                "records": len(records),
                "bytes": 0,
                "records_key": f"records/{name}.csv",
                "features_key": f"features/{name}.csv",
                "columns": ["id", "age"],
            }
            self.storage.write(f"{WROTE.root}{document['records_key']}", "".join(records))
            self.storage.write(
                f"{WROTE.root}{document['features_key']}", "".join(f"{each}\n" for each in features)
            )
            documents.append(document)
        out = sum(map(len, shards.values()))
        counts = {"records_in": out + rejected, "records_out": out, "rejected": rejected}
        self.storage.write_json(WROTE.shards, {**counts, "shards": documents})
        estimate = {"preprocess": {"dollars": 1.0}, "join": {"dollars": 0}}
        self.plan(**{"budget": None, "prices": {}, "estimate": estimate, **plan})
        base = f"churn-transform-{build_name_token(NONCE)}-{time.monotonic_ns()}"  # logs are kept over tests
        self.aws.models["churn"] = {}
        self.spec = JobSpec(
            kind=TRANSFORM,
            base_name=base,
            resume=True,
            request={
                "TransformJobName": base,
                "ModelName": "churn",
                "TransformInput": {
                    "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": WROTE.features}}
                },
                "TransformOutput": {"S3OutputPath": f"{RUN}{{job_name}}/predictions/"},
                "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 4},
            },
        )

    def plan(self, **plan: Any) -> None:
        """Write the plan, with the pipeline as it is now."""
        write_plan(self.storage, RUN, self.config, nonce=NONCE, **plan)

    def ensure(self, **arguments: Any) -> Job:
        """One look at the job, as a task takes it."""
        return ensure_job(self.hook, self.spec, continuation=BadRecordContinuation(), **arguments)

    def run_job(self, job: Job, *, stop_before: Callable[[str], bool] = lambda name: False) -> None:
        """Carry out a job: an object with a poisoned line is refused, the others are answered line by line.

        So is one of fewer lines than `least`, as by the scikit-learn image, whose default makes of one row no table.
        """
        source = job.description["TransformInput"]["DataSource"]["S3DataSource"]
        if source["S3DataType"] == "ManifestFile":
            prefix, *names = self.storage.read_json(source["S3Uri"])
            folder = prefix["prefix"]
        else:
            folder = source["S3Uri"]
            names = [uri.removeprefix(folder) for uri in self.storage.list_uris(folder)]
        self.seen.append(names)
        output, said, died = job.description["TransformOutput"]["S3OutputPath"], [], False
        for name in names:
            if stop_before(name):
                died = True
                break
            lines = self.storage.read(f"{folder}{name}").decode().splitlines()
            where = f"{folder}{name}".removeprefix("s3://")
            bad = [line for line in lines if line in self.poison]
            if bad or len(lines) < self.least:
                said += [
                    f"{where}: Bad HTTP status received from algorithm: 500",
                    f"{where}: ",
                    f"{where}: Message:",
                ]
                why = f"cannot take {bad[0]}" if bad else "Expected 2D array, got 1D array instead"
                said.append(f"{where}: ValueError: {why}")
            else:
                self.storage.write(f"{output}{name}.out", "".join(f"0.{line}\n" for line in lines))
        self.say(job.name, said)
        failed = bool(said) or died
        reason = {"FailureReason": "AlgorithmError: See job logs for more information"} if failed else {}
        self.aws.end(job.name, "Failed" if failed else "Completed", **reason)

    def say(self, job_name: str, lines: list[str]) -> None:
        """Write the service's log of a job."""
        where = {"logGroupName": TRANSFORM.log_group, "logStreamName": f"{job_name}/i-1/data-log"}
        self.logs.create_log_stream(**where)
        now = int(time.time() * 1000)
        text = ["MaxConcurrentTransforms=1, MaxPayloadInMB=6, BatchStrategy=MULTI_RECORD", *lines]
        events = [
            {"timestamp": now, "message": f"2026-01-31T07:30:00.000:[sagemaker logs]: {each}"}
            for each in text
        ]
        self.logs.put_log_events(**where, logEvents=events)

    def to_the_end(self) -> Job:
        """Look and carry out until the work is settled."""
        while not (job := self.ensure()).has_ended:
            self.run_job(job)
        return job

    def account(self) -> Any:
        """What the sensor hands on once all jobs have ended."""
        sensor = TransformJobSensor(
            task_id="t", job_name="x", spec=self.spec.to_dict(), continuation=BadRecordContinuation()
        )
        return sensor.execute(context_of(sensor))

    def jobs(self) -> list[str]:
        """The attempts that were made."""
        return [name.removeprefix(f"{self.spec.base_name}-") for name in self.aws.jobs]


@pytest.fixture(scope="module")
def service() -> Iterator[World]:
    """Moto for S3 and logs, a SageMaker whose jobs do nothing by themselves, and one connection to both."""
    aws = FakeSageMaker()
    with running_moto() as url, pytest.MonkeyPatch.context() as patch:
        services = {"sagemaker": {"endpoint_url": aws.url}}
        extra = {"region_name": REGION, "endpoint_url": url, "service_config": services}
        connection = json.dumps({"conn_type": "aws", "login": "x", "password": "x", "extra": extra})
        patch.setenv("AIRFLOW_CONN_AWS_DEFAULT", connection)
        storage, hook = Storage("aws_default"), SageMakerHook(aws_conn_id="aws_default")
        patch.setattr("airflow.providers.amazon.aws.utils.mixins.AwsBaseHookMixin.hook", hook)
        # boto3 takes a second to build a client.
        patch.setattr("batch_inference.dag.bad_record_search.Storage", lambda *_: storage)
        logs = hook.get_session(REGION).client("logs", endpoint_url=url)
        storage.client.create_bucket(Bucket="bucket")
        logs.create_log_group(logGroupName=TRANSFORM.log_group)
        world = World(aws, hook, storage, logs)
        yield world
    aws.close()


@pytest.fixture
def world(service: World) -> World:
    """The same, with a pipeline of no limits."""
    service.config = pipeline({"predictions.format": "csv", "predictions.fields": {"0": "churn"}})
    return service


def records(shard: int, count: int) -> list[str]:
    """Records of a shard; every third has a quoted line break."""
    return [
        f'{shard}{n:04d},"{n}\nyears"\n' if n % 3 == 0 else f"{shard}{n:04d},{n}\n"
        for n in range(1, count + 1)
    ]


def key(record: str) -> str:
    """What the model sees of a record."""
    return record.split(",", 1)[0]


def check_mended(world: World, account: Any) -> None:
    """Every record is answered with its own answer, or rejected with its own text, in order."""
    mended = read_merged_shards(world.storage, account)
    rejected = 0
    for name, all_records in world.shards.items():
        good = [record for record in all_records if key(record) not in world.poison]
        bad = [record for record in all_records if key(record) in world.poison]
        lonely = len(all_records) < world.least
        assert (name in mended) == (bool(bad) or lonely), "only shards with refused records are cut"
        if not bad and not lonely:
            continue
        assert (mended[name]["records"], mended[name]["refused"]) == (len(good), len(bad))
        assert world.storage.read(mended[name]["records_object"][0]).decode() == "".join(good)
        answers = world.storage.read(mended[name]["predictions_object"][0]).decode()
        assert answers == "".join(f"0.{key(record)}\n" for record in good)
        if not bad:
            continue
        rejects = world.storage.read(f"{account['resolution']['rejects']}{name}.jsonl").decode()
        lines = [json.loads(line) for line in rejects.splitlines()]
        assert [f"{line['text']}\n" for line in lines] == bad
        for line in lines:
            assert line["record"] == all_records.index(f"{line['text']}\n") + 1
            assert f"cannot take {key(line['text'])}" in line["reason"]
            assert line["rule"] == "refused by the model"
        rejected += len(bad)
    assert account["resolution"]["refused"] == rejected == len(world.poison)


def test_only_the_record_that_the_model_refuses_is_rejected(world: World) -> None:
    """Four jobs: all, the bad object once more, its pieces, the records of the bad piece."""
    shards = {f"algo-1-{number:05d}": records(number, 30) for number in range(4)}
    world.prepare(shards, {key(shards["algo-1-00002"][16])})
    job = world.to_the_end()
    assert (job.attempt, job.status) == (4, "Failed")
    assert [len(names) for names in world.seen] == [4, 1, 5, 7], "six records, and a control"
    assert world.seen[3][:2] == [
        "algo-1-00000.2-2.with.algo-1-00000.1.csv",
        "algo-1-00002.13-13.with.algo-1-00000.1.csv",
    ]
    instances = [each["TransformResources"]["InstanceCount"] for each in world.aws.jobs.values()]
    assert instances == [4, 1, 1, 1], "a quarter of the records needs a quarter of the instances"
    account = world.account()
    check_mended(world, account)
    assert account["resolution"]["document"] == f"{RUN}{job.name}/mended.json"
    assert len(account["output_uris"]) == 4
    assert [each["status"] for each in account["earlier_attempts"]] == ["Failed"] * 3


def test_after_a_failed_trial_the_records_of_its_own_shards_are_searched(world: World) -> None:
    """The trial says nothing of its records: the usual settings try all of them first. Other shards are not its own."""
    shards = {f"algo-1-{number:05d}": records(number, 30) for number in range(4)}
    world.prepare(shards, {key(shards["algo-1-00002"][16])})
    mine = ["algo-1-00001", "algo-1-00002"]
    for name in mine:
        world.storage.copy(f"{WROTE.features}{name}.csv", f"{WROTE.trials}0/{name}.csv")
        world.storage.delete([f"{WROTE.features}{name}.csv"])
    main, base = world.spec, f"{world.spec.base_name}-t"
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"{WROTE.trials}0/"}}
    request = {
        **main.request,
        "TransformInput": {"DataSource": source},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    }
    tried = Trial(request={"TransformResources": {"InstanceType": "ml.c5.large"}}, max_runtime_seconds=60)
    world.spec = replace(main, base_name=base, request=request, trial=tried)
    job = world.to_the_end()
    assert (job.attempt, job.status) == (5, "Failed")
    assert [len(names) for names in world.seen[:3]] == [2, 2, 1], "the trial, all again, the refused object"
    world.shards = {name: shards[name] for name in mine}
    check_mended(world, world.account())
    # The job of the other shards has refused nothing, and looks for nothing in those of the trial.
    world.spec, world.poison = main, {key(shards["algo-1-00003"][2])}
    world.to_the_end()
    world.shards = {name: shards[name] for name in shards if name not in mine}
    check_mended(world, world.account())


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_poison_in_any_shards_is_found_and_nothing_else(world: World, data: st.DataObject) -> None:
    """Random shards and random poison: what is not poison is answered in its place."""
    sizes = data.draw(st.lists(st.integers(1, 14), min_size=1, max_size=3))
    shards = {f"algo-1-{number:05d}": records(number, size) for number, size in enumerate([*sizes, 3])}
    keys = [key(record) for each in shards.values() for record in each]
    # The last shard is sound: a model that answers nothing at all is another matter.
    poison = data.draw(st.sets(st.sampled_from(keys[:-3])))
    world.prepare(shards, poison)
    world.least = data.draw(st.sampled_from([1, 2]))
    job = world.to_the_end()
    if not poison and (world.least == 1 or 1 not in sizes):
        assert (job.attempt, job.status, world.account()["resolution"]) == (1, "Completed", None)
        return
    check_mended(world, world.account())


def test_a_model_that_answers_no_record_alone_loses_no_good_one(world: World) -> None:
    """One record of a hundred is bad, and all that are sent alone are refused; the shard of one record is answered."""
    shards = {"algo-1-00000": records(0, 100), "algo-1-00001": records(1, 1), "algo-1-00002": records(2, 7)}
    world.prepare(shards, {key(shards["algo-1-00000"][50])})
    world.least = 2
    job = world.to_the_end()
    assert (job.attempt, job.status) == (4, "Failed")
    account = world.account()
    check_mended(world, account)
    assert account["resolution"]["refused"] == 1


def test_a_model_that_answers_no_few_records_rejects_none(world: World) -> None:
    """It refuses the control too: so nobody can say which of the records it cannot take."""
    shards = {"algo-1-00000": records(0, 100), "algo-1-00001": records(1, 100)}
    world.prepare(shards, {key(shards["algo-1-00000"][50])})
    world.least = 3
    with pytest.raises(
        JobFailedPermanently, match=r"refused 10 records, each sent with one that it has answered, and no"
    ) as failed:
        world.to_the_end()
    assert "no record can be blamed" in str(failed.value)
    assert world.jobs() == ["1", "2", "3", "4"]
    assert [uri for uri in world.storage.list_uris(RUN) if "rejects" in uri or "mended" in uri] == []


def test_where_nothing_was_answered_single_records_are_told_apart_by_each_other(world: World) -> None:
    """One shard whose pieces are all refused: records alone, and those that are answered show that records can be."""
    shards = {"algo-1-00000": records(0, 9)}
    bad = {key(shards["algo-1-00000"][place]) for place in (0, 4, 8)}
    world.prepare(shards, bad)
    job = world.to_the_end()
    assert (job.attempt, world.seen[3][0]) == (4, "algo-1-00000.1-1.csv")
    check_mended(world, world.account())
    world.prepare({"algo-1-00000": records(0, 3)}, {"00001"})
    world.least = 2
    with pytest.raises(JobFailedPermanently, match="each sent alone, and has answered nothing at all"):
        world.to_the_end()
    assert world.jobs() == ["1", "2", "3", "4"]


def test_records_that_do_not_go_into_one_request_are_not_told_apart(world: World) -> None:
    """The second one would be a request of its own: refused for being alone, or for what it is, nobody knows."""
    shards = {"algo-1-00000": records(0, 9), "algo-1-00001": records(1, 9)}
    world.prepare(shards, {key(shards["algo-1-00001"][4])})
    for _ in range(3):
        world.run_job(world.ensure())
    limited = {**world.spec.request, "MaxPayloadInMB": 1, "BatchStrategy": "MultiRecord"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("batch_inference.dag.bad_record_search.MEBIBYTE", 11)
        patch.setattr(
            "batch_inference.dag.bad_record_search._request_bytes",
            lambda _: _request_bytes(replace(world.spec, request=limited)),
        )
        with pytest.raises(AirflowFailException, match=r"more than the 11 of one request.*max_payload_mb"):
            world.ensure()
    single = {**limited, "BatchStrategy": "SingleRecord"}
    assert _request_bytes(replace(world.spec, request=single)) is None
    world.to_the_end()
    check_mended(world, world.account())


def test_a_task_that_is_tried_again_in_the_middle_finds_its_round(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It died with the pieces half written, before the job was created, and while it settled: no job more than else."""
    shards = {"algo-1-00000": records(0, 9), "algo-1-00001": records(1, 9)}
    world.prepare(shards, {key(shards["algo-1-00001"][4])})
    for _ in range(2):
        world.run_job(world.ensure())
    whole, left = Storage.write, [1]

    def broken(storage: Storage, uri: str, *arguments: Any, **more: Any) -> None:
        if "pieces" in uri and not left:
            raise ConnectionError("the worker died")
        left.clear()
        whole(storage, uri, *arguments, **more)

    monkeypatch.setattr(Storage, "write", broken)
    with pytest.raises(ConnectionError):
        world.ensure()
    monkeypatch.setattr(Storage, "write", whole)
    world.aws.refuse("CreateTransformJob", "ResourceLimitExceeded", quota_message(4, in_use=4, wanted=1))
    with pytest.raises(QuotaExceeded):
        world.ensure()
    pieces = world.ensure()
    assert (pieces.attempt, world.ensure().name) == (3, pieces.name)
    world.run_job(pieces)
    assert world.to_the_end().attempt == 4
    assert world.ensure().attempt == 4
    check_mended(world, world.account())
    assert world.jobs() == ["1", "2", "3", "4"]


def test_what_passes_in_pieces_is_no_poison(world: World) -> None:
    """An object that is too much at once, say: the shard is put together from its pieces, and nothing is rejected."""
    shards = {"algo-1-00000": records(0, 9), "algo-1-00001": records(1, 9)}
    world.prepare(shards, {key(shards["algo-1-00001"][4])})
    for _ in range(2):
        world.run_job(world.ensure())
    world.poison.clear()
    job = world.to_the_end()
    assert (job.attempt, job.status) == (3, "Completed")
    account = world.account()
    assert (account["resolution"]["refused"], account["resolution"]["rejects"]) == (0, None)
    mended = read_merged_shards(world.storage, account)
    assert world.storage.read(mended["algo-1-00001"]["records_object"][0]).decode() == "".join(
        shards["algo-1-00001"]
    )


def test_a_chance_failure_is_over_with_the_second_job(world: World) -> None:
    """Nothing is cut, and nothing is settled: the account is that of a transform that was continued."""
    shards = {"algo-1-00000": records(0, 9), "algo-1-00001": records(1, 9)}
    world.prepare(shards, {key(shards["algo-1-00001"][4])})
    world.run_job(world.ensure())
    world.poison.clear()
    assert world.to_the_end().attempt == 2
    account = world.account()
    assert account["resolution"] is None
    assert len(account["output_uris"]) == 2


def test_an_internal_error_in_the_middle_goes_on_with_the_pieces(world: World) -> None:
    """It counts as no refusal: the pieces that are left are run again as they are."""
    shards = {"algo-1-00000": records(0, 16), "algo-1-00001": records(1, 16)}
    world.prepare(shards, {key(shards["algo-1-00001"][5])})
    for _ in range(2):
        world.run_job(world.ensure())
    pieces = world.ensure()
    world.run_job(pieces, stop_before=lambda name: name.startswith("algo-1-00001.5-"))
    world.aws.end(pieces.name, "Failed", FailureReason=INTERNAL)
    job = world.to_the_end()
    assert job.attempt == 5
    assert world.seen[3] == [f"algo-1-00001.{span}.csv" for span in ("5-8", "9-12")]
    check_mended(world, world.account())


def test_a_small_job_that_got_no_instance_is_asked_for_again_as_small(world: World) -> None:
    """A quarter of the records needs a quarter of the instances, however many pieces that is."""
    shards = {f"algo-1-{number:05d}": records(number, 30) for number in range(4)}
    world.prepare(shards, {key(shards["algo-1-00002"][16])})
    for _ in range(2):
        world.run_job(world.ensure())
    pieces = world.ensure()
    world.aws.end(
        pieces.name,
        "Failed",
        FailureReason="CapacityError: Unable to provision requested ML compute capacity.",
    )
    del world.aws.jobs[pieces.name]["TransformStartTime"]
    again = world.ensure()
    assert again.attempt == 4
    counts = [job.description["TransformResources"]["InstanceCount"] for job in (pieces, again)]
    assert counts == [1, 1]
    world.run_job(again)
    assert len(world.seen[-1]) == 5
    world.to_the_end()
    check_mended(world, world.account())


def test_what_was_not_reached_is_run_again_and_blamed_for_nothing(world: World) -> None:
    """The container died with some objects refused and some not tried."""
    shards = {f"algo-1-{number:05d}": records(number, 9) for number in range(4)}
    world.prepare(shards, {key(shards["algo-1-00001"][4])})
    world.run_job(world.ensure(), stop_before=lambda name: name.startswith("algo-1-00003"))
    world.run_job(world.ensure(), stop_before=lambda name: name.startswith("algo-1-00003"))
    job = world.to_the_end()
    assert world.seen[2] == [
        "algo-1-00001.1-3.csv", "algo-1-00001.4-6.csv", "algo-1-00001.7-9.csv", "algo-1-00003.csv",
    ]  # fmt: skip
    assert job.attempt == 4
    check_mended(world, world.account())


def test_a_job_that_names_no_refused_object_fails_as_before(world: World) -> None:
    """A container that cannot start: no second job, and its own reason."""
    world.prepare({"algo-1-00000": records(0, 9)}, set())
    world.aws.end(world.ensure().name, "Failed", FailureReason="AlgorithmError: See job logs")
    with pytest.raises(JobFailedPermanently, match=r"job .* failed: ") as failed:
        world.ensure()
    assert "further job" not in str(failed.value)
    assert world.jobs() == ["1"]


def test_objects_that_were_in_flight_when_memory_ran_out_are_blamed_for_nothing(world: World) -> None:
    """The service logs that nobody answered for them; with less memory in use they are answered."""
    world.prepare({"algo-1-00000": records(0, 9)}, set())
    job = world.ensure()
    where = f"{WROTE.features}algo-1-00000.csv".removeprefix("s3://")
    world.say(job.name, [f"{where}: Unable to get response from algorithm"])
    reason = (
        "ClientError: Please use an instance type with more memory, or reduce the size of job data processed."
    )
    world.aws.end(job.name, "Failed", FailureReason=reason)
    with pytest.raises(JobFailedPermanently, match="ran out of memory"):
        world.ensure()
    assert world.jobs() == ["1"]


def test_more_than_max_rejected_fails_before_more_is_paid_for(world: World) -> None:
    """Four objects are bad, three may be: they are not even cut. If the plan allows it, a clear goes on from there."""
    shards = {f"algo-1-{number:05d}": records(number, 9) for number in range(8)}
    poison = {key(shards[f"algo-1-{number:05d}"][2]) for number in range(4)}
    world.config = world.config.model_copy(update={"max_rejected": 5})
    world.prepare(shards, poison, rejected=2)
    for _ in range(2):
        world.run_job(world.ensure())
    with pytest.raises(
        JobFailedPermanently, match=r"these are 6 of 74, and max_rejected allows 5\. Nothing is published"
    ):
        world.ensure()
    assert world.jobs() == ["1", "2"]
    world.config = world.config.model_copy(update={"max_rejected": 6})
    with pytest.raises(JobFailedPermanently, match="max_rejected allows 5"):
        world.ensure()  # what counts is what was planned
    world.plan(budget=None, prices={})
    assert world.ensure(task_was_cleared=True).attempt == 3
    world.to_the_end()
    check_mended(world, world.account())


def test_a_clear_without_a_change_runs_what_is_left_once_more(world: World) -> None:
    """A person asked for it: the two single records, and nothing that has been answered."""
    shards = {"algo-1-00000": records(0, 4), "algo-1-00001": records(1, 4)}
    world.config = world.config.model_copy(update={"max_rejected": 1})
    world.prepare(shards, {key(shards["algo-1-00001"][0]), key(shards["algo-1-00001"][1])})
    with pytest.raises(JobFailedPermanently, match="max_rejected allows 1"):
        world.to_the_end()
    job = world.ensure(task_was_cleared=True)
    world.poison.remove(key(shards["algo-1-00001"][0]))
    world.run_job(job)
    assert world.seen[-1] == [
        "algo-1-00001.1-1.with.algo-1-00000.1.csv",
        "algo-1-00001.2-2.with.algo-1-00000.1.csv",
    ]
    world.to_the_end()
    check_mended(world, world.account())


def test_the_budget_ends_it(world: World) -> None:
    """What the jobs cost by their billed seconds, and one more like the last; what a person has approved counts."""
    shards = {"algo-1-00000": records(0, 9), "algo-1-00001": records(1, 9)}
    prices = load_prices().override_prices({"ml.m5.large": 3.6})
    plan = {"budget": 1.5, "price_table": prices.model_dump(mode="json")}
    world.prepare(shards, {key(shards["algo-1-00001"][4])}, **plan)
    # Preprocessing was estimated at $1; a minute of the first job on four instances costs $0.24, of the second on one
    # $0.06, of the third on two $0.12: the fourth would make it $1.54.
    for _ in range(3):
        world.run_job(world.ensure())
    with pytest.raises(JobFailedPermanently, match=r"the \$1\.42 already spent, and the budget is \$1\.50"):
        world.ensure()
    estimate = {"preprocess": {"dollars": 1.0}, "join": {"dollars": 0.0}, "dollars_high": 1.6}
    approved = {**plan, "approval_reason": "the estimate is above the budget", "estimate": estimate}
    joined = {**approved, "estimate": {**estimate, "join": {"dollars": 0.1}}}
    world.plan(**joined)
    with pytest.raises(
        JobFailedPermanently, match=r"\$1\.42 already spent and the \$0\.10 of the join, and the budget"
    ):
        world.ensure()
    world.plan(**approved)
    assert world.ensure().attempt == 4


def test_a_log_that_may_not_be_read_hides_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job's own failure is raised, and why nothing followed."""
    from botocore.exceptions import ClientError

    world.prepare({"algo-1-00000": records(0, 9)}, {"00001"})
    world.run_job(world.ensure())

    def denied(*_: Any) -> Any:
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "GetLogEvents")

    monkeypatch.setattr("batch_inference.dag.bad_record_search.read_rejected_objects", denied)
    with pytest.raises(JobFailed, match=r"(?s)failed: .*Which objects were refused cannot be read"):
        world.ensure()


def test_a_model_that_drops_a_row_of_a_piece_fails_the_task(world: World) -> None:
    """A shift inside a piece would not show in the shard's count."""
    shards = {"algo-1-00000": records(0, 9), "algo-1-00001": records(1, 9)}
    world.prepare(shards, {key(shards["algo-1-00001"][4])})
    for _ in range(3):
        world.run_job(world.ensure())
    short = f"{RUN}{world.spec.build_job_name(3)}/predictions/algo-1-00001.1-3.csv.out"
    world.storage.write(short, "0.1\n0.2\n")
    world.run_job(world.ensure())
    with pytest.raises(
        AirflowFailException, match=r"shard algo-1-00001.1-3.csv: 3 records but 2 predictions"
    ):
        world.ensure()


def test_a_long_answer_is_kept_by_both_ends() -> None:
    """A traceback says last what happened."""
    text = shorten_reason(
        [
            "Bad HTTP status received from algorithm: 500",
            *(f"  line {n}" for n in range(500)),
            "ValueError: x",
        ]
    )
    assert text.startswith("Bad HTTP status received from algorithm: 500 line 0 ")
    assert text.endswith("line 499 ValueError: x")
    assert len(text) < 1_010
