"""The policies of a pipeline, without running it: sound by AWS's own reference, and as narrow as the pipeline says."""

from __future__ import annotations

import json
from typing import Any

import botocore.session
import botocore.validate
import pytest
import yaml

from batch_inference.cli.main import main
from batch_inference.common.errors import PolicyError
from batch_inference.common.names import RunPaths, build_history_prefix
from batch_inference.config.pipeline import Pipeline
from batch_inference.publishing.earlier_runs import build_prefix
from batch_inference.requests.iam import build_policies, build_role_request
from tests.deploy.authorization import DATA, problems, reference
from tests.deploy.evaluation import Call, find_allowing_statements, matches
from tests.unit.builders import EXAMPLE, example, pipeline_without_preprocess

# A managed policy may have so many characters, white space not counted (IAM quotas).
MANAGED_POLICY_CHARACTERS = 6_144
JOB = "abalone--transform-0123456789ab-01234567-1"


def sample_file() -> dict[str, Any]:
    """The sample's pipeline file."""
    found: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text())
    return found


def changed(**fields: Any) -> Pipeline:
    """The sample's pipeline with other fields."""
    return Pipeline.model_validate({**sample_file(), **fields})


def statements(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """A document's statements by Sid."""
    found = {statement["Sid"]: statement for statement in document["Statement"]}
    assert len(found) == len(document["Statement"])
    return found


@pytest.mark.parametrize("role", ["airflow", "sagemaker", "sagemaker_trust", "janitor"])
def test_every_action_exists_and_fits_its_resources_and_keys(role: str) -> None:
    """By AWS's Service Authorization Reference, whatever the pipeline has."""
    glue = {"database": "scored", "table": "rings"}
    for pipeline in (
        example(),
        changed(security=SECURITY),
        changed(output={**sample_file()["output"], "glue_table": glue}),
        changed(goals={"calibrate": "canary"}, transform={"on_bad_records": "fail", "max_payload_mb": 5}),
        changed(goals={"calibrate": "explore"}),
        changed(join={**sample_file()["join"], "processing_above": 1}),
        pipeline_without_preprocess({"region": "eu-central-1"}),
    ):
        found = build_policies(pipeline)[role]
        assert [line for statement in found["Statement"] for line in problems(statement)] == []


def test_the_reference_notices_what_does_not_fit() -> None:
    """A misspelt action, a resource of another type, a key that the action lacks: each by both packages."""
    arn = "arn:aws:s3:::bucket"
    allow = {"Effect": "Allow", "Resource": [arn]}
    trust = {"Effect": "Allow", "Principal": {"Service": "x"}, "Action": ["sts:AssumeRole"]}

    def packages(statement: dict[str, Any]) -> list[str]:
        return [problem.partition(":")[0] for problem in problems(statement)]

    both = ["parliament", "policy_sentry"]
    assert problems({**allow, "Action": ["s3:ListBuckets"]}) == [
        f"{package}: there is no action s3:ListBuckets" for package in both
    ]
    assert packages({**allow, "Action": ["s3:GetObject"]}) == both
    via = {"Bool": {"kms:ViaService": "x"}}
    assert packages({**allow, "Action": ["s3:ListBucket"], "Condition": via}) == both
    assert packages({**trust, "Condition": via}) == both
    assert (
        problems({**allow, "Action": ["s3:ListBucket"], "Condition": {"StringLike": {"s3:prefix": "x"}}})
        == []
    )


def test_each_package_has_its_say() -> None:
    """Each knows an action that the other does not, or does not any more: what is new, and what is gone."""
    known = [
        {
            f"{prefix}:{name}"
            for prefix, service in reference(package).items()
            for name in service["privileges"]
        }
        for package in DATA
    ]
    assert known[0] - known[1]
    assert known[1] - known[0]


@pytest.mark.parametrize("role", ["airflow", "sagemaker", "janitor"])
def test_no_wildcard_for_actions_and_only_where_aws_knows_no_resource(role: str) -> None:
    """`*` alone stands where the reference has no resource type, which the test above checks; never in an action."""
    for statement in build_policies(example())[role]["Statement"]:
        assert not [action for action in statement["Action"] if "*" in action]
        for resource in statement["Resource"]:
            assert resource == "*" or "abalone" in resource or "Jobs" in resource or "batch-inference" in resource or (
                ":repository/" in resource
            )  # fmt: skip


def test_documents_fit_into_a_managed_policy() -> None:
    """With another input and output, too."""
    made = build_policies(
        example(),
        inputs=["s3://another-bucket/x/"],
        outputs=["s3://another-bucket/y/"],
    )
    for document in made.values():
        assert len(json.dumps(document, separators=(",", ":"))) < MANAGED_POLICY_CHARACTERS


def test_output_is_open_for_what_publish_writes_alone() -> None:
    """Placeholders become as many characters as they have, so `date=` of this pipeline and nothing beside it."""
    document = build_policies(changed(output={"uri": "s3://out-bucket/a/{date}/{hour}/{run_id}/"}))["airflow"]

    def put(key: str) -> bool:
        return bool(
            find_allowing_statements(document, Call("s3:PutObject", f"arn:aws:s3:::out-bucket/{key}"))
        )

    assert put("a/2026-01-31/07/manual__x/part-00000-x.parquet")
    assert put("a/2026-01-31/07/manual__x/_manifest.json")
    assert not put("a/2026-01-31/7/manual__x/_manifest.json")
    assert not put("a/2026-01-31/07/manual__x/other.txt")
    assert not put("b/2026-01-31/07/manual__x/_manifest.json")


def test_the_janitor_keeps_and_removes_entries_of_late_runs() -> None:
    notify = {"on_late": [{"notifier": "chat.Chat"}]}
    document = build_policies(changed(work="s3://work-bucket/a/", notify=notify))["janitor"]
    entry = "arn:aws:s3:::work-bucket/a/abalone/_late/r.json"
    for action in ("GetObject", "PutObject", "DeleteObject"):
        assert find_allowing_statements(document, Call(f"s3:{action}", entry))


def test_characters_that_iam_reads_as_patterns_are_taken_as_they_are() -> None:
    """A `*` in a prefix does not open its neighbours."""
    document = build_policies(changed(work="s3://work-bucket/a*b/$c?"))["airflow"]

    def get(key: str) -> bool:
        return bool(
            find_allowing_statements(document, Call("s3:GetObject", f"arn:aws:s3:::work-bucket/{key}"))
        )

    assert get("a*b/$c?/abalone/run/plan.json")
    assert not get("axb/$c?/abalone/run/plan.json")
    assert not get("a*b/$cd/abalone/run/plan.json")
    assert matches("${*}?${?}*", "*a?b")
    assert not matches("${*}?${?}*", "xa?b")
    with pytest.raises(ValueError, match="not evaluated"):
        matches("${aws:username}", "x")


def test_an_existing_model_may_be_used_and_not_changed() -> None:
    """No CreateModel, no DeleteModel; transforms of that model only."""
    document = build_policies(changed(model={"name": "Rings-v7"}))["airflow"]
    actions = {action for statement in document["Statement"] for action in statement["Action"]}
    assert "sagemaker:DescribeModel" in actions
    assert not {"sagemaker:CreateModel", "sagemaker:DeleteModel"} & actions
    base = "arn:aws:sagemaker:us-east-1:123456789012"
    job = f"{base}:transform-job/{JOB}"
    ours, other = ({"sagemaker:ModelArn": f"{base}:model/{name}"} for name in ("rings-v7", "other"))
    assert find_allowing_statements(document, Call("sagemaker:CreateTransformJob", job, ours))
    assert not find_allowing_statements(document, Call("sagemaker:CreateTransformJob", job, other))
    assert not find_allowing_statements(document, Call("sagemaker:CreateTransformJob", job))


PARTS = {
    "images": ["123456789012.dkr.ecr.us-east-1.amazonaws.com/rings:1"],
    "model_data": ["s3://models/rings/"],
}


@pytest.mark.parametrize("role", ["airflow", "sagemaker"])
def test_a_group_of_the_registry_may_be_read_and_its_versions_run(role: str) -> None:
    """Nothing of another group; the versions' parts are told, as the file does not have them."""
    config = changed(model={"group": "Rings"})
    document = build_policies(config, **PARTS)[role]
    assert [line for statement in document["Statement"] for line in problems(statement)] == []
    base = "arn:aws:sagemaker:us-east-1:123456789012:model-package"
    if role == "airflow":
        for action in ("ListModelPackages", "DescribeModelPackage"):
            assert find_allowing_statements(document, Call(f"sagemaker:{action}", f"{base}/rings/7"))
            assert not find_allowing_statements(document, Call(f"sagemaker:{action}", f"{base}/rings-2/7"))
        assert statements(document)["Model"]["Action"][0] == "sagemaker:CreateModel"
        assert not find_allowing_statements(document, Call("sagemaker:UpdateModelPackage", f"{base}/rings/7"))
    else:
        assert find_allowing_statements(
            document, Call("s3:GetObject", "arn:aws:s3:::models/rings/7/model.tar.gz")
        )
        assert not find_allowing_statements(
            document, Call("s3:GetObject", "arn:aws:s3:::models/other/model.tar.gz")
        )
        assert find_allowing_statements(
            document, Call("ecr:BatchGetImage", "arn:aws:ecr:us-east-1:123456789012:repository/rings")
        )


def test_a_package_is_read_alone() -> None:
    """No listing."""
    arn = "arn:aws:sagemaker:us-east-1:123456789012:model-package/rings/7"
    document = build_policies(changed(model={"package": arn}), **PARTS)["airflow"]
    assert statements(document)["Registry"]["Action"] == ["sagemaker:DescribeModelPackage"]
    assert statements(document)["Registry"]["Resource"] == [arn]


@pytest.mark.parametrize(("calibrate", "folder"), [("canary", "canary/"), ("explore", "trials/0/")])
def test_shards_are_set_apart_from_the_features_and_nothing_else_of_a_run_is_deleted_for_it(
    calibrate: str, folder: str
) -> None:
    """SageMaker's role reads them where they lie then; without a canary or trials neither is allowed."""
    document = build_policies(example())
    transform = {"on_bad_records": "fail", "max_payload_mb": 5}
    with_canary = build_policies(changed(goals={"calibrate": calibrate}, transform=transform))
    run = "arn:aws:s3:::batch-inference-sample/work/abalone/run-1/abalone--preprocess-0123456789ab-01234567-1"
    deletes = Call("s3:DeleteObject", f"{run}/features/shard-0.csv")
    assert find_allowing_statements(with_canary["airflow"], deletes)
    assert not find_allowing_statements(
        with_canary["airflow"], Call("s3:DeleteObject", f"{run}/records/shard-0.csv")
    )
    assert not find_allowing_statements(document["airflow"], deletes)
    reads = Call("s3:GetObject", f"{run}/{folder}shard-0.csv")
    assert find_allowing_statements(with_canary["sagemaker"], reads)
    assert not find_allowing_statements(document["sagemaker"], reads)
    assert [line for each in with_canary["airflow"]["Statement"] for line in problems(each)] == []


def test_sagemaker_assumes_the_role_for_this_account_and_region_alone() -> None:
    """Not for a job of another account, whose owner guessed the role's name; as AWS's guide writes it."""
    for region, role in (
        ("us-east-1", "arn:aws:iam::123456789012:role/x"),
        ("eu-west-1", "arn:aws:iam::123456789012:role/x"),
    ):
        trust = build_policies(changed(region=region, role=role))["sagemaker_trust"]
        (statement,) = trust["Statement"]
        assert statement["Principal"] == {"Service": "sagemaker.amazonaws.com"}
        held = {**trust, "Statement": [{**statement, "Sid": "Trust", "Resource": ["*"]}]}
        del held["Statement"][0]["Principal"]

        def assumes(account: str, arn: str | None, document: dict[str, Any] = held) -> bool:
            context = {"aws:SourceAccount": account, **({} if arn is None else {"aws:SourceArn": arn})}
            return bool(find_allowing_statements(document, Call("sts:AssumeRole", "*", context)))

        base = f"arn:aws:sagemaker:{region}:123456789012"
        for kind in ("transform-job", "processing-job", "model"):
            assert assumes("123456789012", f"{base}:{kind}/{JOB}")
        assert not assumes("210987654321", f"{base}:transform-job/{JOB}")
        assert not assumes("123456789012", f"arn:aws:sagemaker:{region}:210987654321:transform-job/{JOB}")
        assert not assumes("123456789012", f"arn:aws:sagemaker:ap-south-1:123456789012:transform-job/{JOB}")
        assert not assumes("123456789012", None)


@pytest.mark.parametrize("role", ["airflow", "janitor"])
def test_what_outlives_runs_is_never_deleted(role: str) -> None:
    """Rates of the runs before, and what was published, whose folders no run's own can be; with a canary as well."""
    canary = changed(goals={"calibrate": "canary"}, transform={"on_bad_records": "fail", "max_payload_mb": 5})
    kept = [
        *(
            build_history_prefix(work=canary.work, pipeline=canary.name) + name
            for name in ("2026.jsonl", "x/features/y")
        ),
        *(f"{build_prefix(canary)}{name}" for name in ("run-1.json", "x/features/y")),
    ]
    for pipeline in (example(), canary):
        held = build_policies(pipeline)[role]
        for uri in kept:
            assert not find_allowing_statements(
                held, Call("s3:DeleteObject", uri.replace("s3://", "arn:aws:s3:::"))
            ), uri
    plan = RunPaths.from_run_id(work=canary.work, pipeline=canary.name, run_id="_odd id").plan
    deletes = Call("s3:DeleteObject", plan.replace("s3://", "arn:aws:s3:::"))
    assert bool(find_allowing_statements(build_policies(canary)[role], deletes)) == (role == "janitor")


def test_the_janitor_writes_a_notice_of_a_late_run_where_somebody_is_to_be_notified() -> None:
    """And no other file of a run."""
    notifier = {"notifier": "airflow.providers.smtp.notifications.smtp.SmtpNotifier"}
    runs = RunPaths.from_run_id(work=example().work, pipeline="abalone", run_id="r")

    def may(pipeline: Pipeline, uri: str) -> bool:
        call = Call("s3:PutObject", f"arn:aws:s3:::{uri.removeprefix('s3://')}")
        return bool(find_allowing_statements(build_policies(pipeline)["janitor"], call))

    with_notifier = changed(notify={"on_late": [notifier]})
    assert [may(with_notifier, uri) for uri in (runs.late, runs.plan)] == [True, False]
    assert not may(example(), runs.late)


def test_without_the_parts_of_its_versions_no_policy_is_made() -> None:
    """One that lacks them would fail in the middle of the night."""
    with pytest.raises(PolicyError, match="give --image URI and --model-data"):
        build_policies(changed(model={"group": "rings"}))


def test_only_this_pipelines_role_is_passed_and_only_to_sagemaker() -> None:
    """The pipeline's own role."""
    document = build_policies(changed(role="arn:aws:iam::123456789012:role/scoring/rings"))["airflow"]
    assert statements(document)["PassRole"]["Resource"] == ["arn:aws:iam::123456789012:role/scoring/rings"]
    passed = {"iam:PassedToService": "lambda.amazonaws.com"}
    role = "arn:aws:iam::123456789012:role/scoring/rings"
    assert not find_allowing_statements(document, Call("iam:PassRole", role, passed))


def test_region_is_the_pipelines_or_its_images() -> None:
    """Images lie where the jobs run; with a region of its own the pipeline says so, and China has its own partition."""
    assert ":sagemaker:eu-west-1:" in json.dumps(build_policies(changed(region="eu-west-1"))["airflow"])
    assert ":sagemaker:us-east-1:" in json.dumps(build_policies(changed())["airflow"])
    china = "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/scoring@sha256:0"
    role = "arn:aws-cn:iam::123456789012:role/x"
    made = build_policies(
        changed(region=None, role=role, preprocess={"image": china}, model={"name": "rings"})
    )
    text = json.dumps(made["sagemaker"])
    assert "arn:aws-cn:ecr:cn-north-1:123456789012:repository/scoring" in text
    assert '"arn:aws:' not in text
    elsewhere = {"containers": [{"image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/rings:1"}]}
    with pytest.raises(PolicyError, match="cn-north-1, us-east-1"):
        build_policies(changed(region=None, preprocess={"image": china}, model=elsewhere))
    with pytest.raises(PolicyError, match=r"regions none.*Set region in the pipeline file"):
        build_policies(changed(region=None))
    frankfurt = json.dumps(build_policies(changed(region=None), region="eu-central-1")["sagemaker"])
    assert "arn:aws:ecr:eu-central-1:492215442770:repository/sagemaker-scikit-learn" in frankfurt
    with pytest.raises(PolicyError, match="python:3"):
        build_policies(changed(preprocess={"image": "registry/python:3"}))


VOLUME_KEY = "0a1b2c3d-0000-1111-2222-333344445555"
SECURITY = {
    "volume_kms_key": VOLUME_KEY,
    "output_kms_key": "alias/objects",
    "vpc": {"subnets": ["subnet-0000aaaa", "subnet-1111bbbb"], "security_groups": ["sg-0000aaaa"]},
}


def test_keys_and_network_of_the_pipeline_are_in_the_policies() -> None:
    """Wherever a request names a key or a VPC, for both roles where both need it."""
    made = build_policies(changed(security=SECURITY))
    for role in ("airflow", "sagemaker"):
        document = made[role]
        assert [line for statement in document["Statement"] for line in problems(statement)] == []
        volume, objects = statements(document)["VolumeKey1"], statements(document)["ObjectKey1"]
        assert volume["Resource"] == [f"arn:aws:kms:us-east-1:123456789012:key/{VOLUME_KEY}"]
        assert volume["Condition"] == {"Bool": {"kms:GrantIsForAWSResource": "true"}}
        assert objects["Condition"] == {
            "StringEquals": {"kms:ViaService": "s3.us-east-1.amazonaws.com"},
            "ForAnyValue:StringEquals": {"kms:ResourceAliases": "alias/objects"},
        }
    places = [
        "network-interface/*",
        "subnet/subnet-0000aaaa",
        "subnet/subnet-1111bbbb",
        "security-group/sg-0000aaaa",
    ]
    wanted = [f"arn:aws:ec2:us-east-1:123456789012:{place}" for place in places]
    assert statements(made["sagemaker"])["JoinNetwork"]["Resource"] == wanted
    assert "JoinNetwork" not in statements(made["airflow"])


def test_without_keys_and_network_there_are_no_such_statements() -> None:
    """The sample has neither."""
    text = json.dumps(build_policies(example()))
    assert "kms:" not in text
    assert "ec2:" not in text


def test_a_key_may_be_an_id_an_arn_or_an_alias_and_of_another_account() -> None:
    """A policy names a key by its ARN, and an alias by a condition: which key has it is asked when a call is made."""
    theirs = "arn:aws:kms:us-east-1:210987654321"
    for key, resource, alias in (
        (VOLUME_KEY, f"arn:aws:kms:us-east-1:123456789012:key/{VOLUME_KEY}", None),
        (f"{theirs}:key/{VOLUME_KEY}", f"{theirs}:key/{VOLUME_KEY}", None),
        ("alias/disks", "arn:aws:kms:us-east-1:123456789012:key/*", "alias/disks"),
        (f"{theirs}:alias/disks", f"{theirs}:key/*", "alias/disks"),
    ):
        statement = statements(build_policies(changed(security={"volume_kms_key": key}))["airflow"])[
            "VolumeKey1"
        ]
        assert statement["Resource"] == [resource]
        named_alias = statement["Condition"].get("ForAnyValue:StringEquals", {}).get("kms:ResourceAliases")
        assert named_alias == alias


def test_the_jobs_role_can_be_made_within_its_boundary() -> None:
    """As CreateRole takes it, by botocore's own model; its name and path are those that the pipeline's jobs ask for."""
    boundary = "arn:aws:iam::123456789012:policy/limits/data-science"
    role = "arn:aws:iam::123456789012:role/scoring/nightly/rings"
    pipeline = changed(role=role, security={"permissions_boundary": boundary}, tags={"cost": "42"})
    request = build_role_request(pipeline, build_policies(pipeline)["sagemaker_trust"])
    shape = botocore.session.Session().get_service_model("iam").operation_model("CreateRole").input_shape
    assert botocore.validate.ParamValidator().validate(request, shape).generate_report() == ""
    assert (request["Path"], request["RoleName"]) == ("/scoring/nightly/", "rings")
    assert request["PermissionsBoundary"] == boundary
    assert json.loads(request["AssumeRolePolicyDocument"]) == build_policies(example())["sagemaker_trust"]
    assert request["Tags"] == [{"Key": "pipeline", "Value": "abalone"}, {"Key": "cost", "Value": "42"}]
    plain = build_role_request(example(), build_policies(example())["sagemaker_trust"])
    assert "PermissionsBoundary" not in plain
    assert (plain["Path"], plain["RoleName"]) == ("/", "batch-inference")


def test_make_iam_prints_all_documents_or_one(capsys: pytest.CaptureFixture[str]) -> None:
    """As JSON that `aws iam put-role-policy` takes."""
    assert main(["iam", "abalone"]) == 0
    everything = json.loads(capsys.readouterr().out)
    documents = build_policies(example())
    role = build_role_request(example(), documents["sagemaker_trust"])
    assert everything == {**documents, "sagemaker_role": role}
    assert set(everything) == {"airflow", "sagemaker", "sagemaker_trust", "sagemaker_role", "janitor"}
    assert main(["iam", "abalone", "--role", "sagemaker"]) == 0
    assert json.loads(capsys.readouterr().out) == everything["sagemaker"]
    more = ["--input", "s3://in-bucket/x/", "--output", "s3://out-bucket/y", "--region", "eu-west-1"]
    assert main(["iam", "abalone", "--role", "airflow", *more]) == 0
    wider = json.loads(capsys.readouterr().out)
    assert find_allowing_statements(
        wider, Call("s3:ListBucket", "arn:aws:s3:::in-bucket", {"s3:prefix": "x/"})
    )
    assert find_allowing_statements(wider, Call("s3:PutObject", "arn:aws:s3:::out-bucket/y/part-0"))
    assert not find_allowing_statements(wider, Call("s3:PutObject", "arn:aws:s3:::in-bucket/x/part-0"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["abalon"], "abalone"),
        (["abalone", "--input", "/tmp/x"], "s3://bucket/prefix/"),
        (["abalone", "--region", "europe"], "eu-central-1"),
    ],
)
def test_make_iam_says_what_is_allowed(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    """With status 2."""
    assert main(["iam", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_anybody_may_ask_whether_a_run_would_change_anything_so_the_artefacts_may_be_looked_at() -> None:
    """The form offers it for every pipeline; an existing model has no artefacts that Airflow looks at."""
    found = statements(build_policies(changed(skip_unchanged=False))["airflow"])["LookAtModel"]
    assert found["Action"] == ["s3:GetObject"]
    archives = [each["model_data"] for each in changed().model_dump()["model"]["containers"]]
    assert found["Resource"] == [each.replace("s3://", "arn:aws:s3:::") for each in archives]
    assert "LookAtModel" not in statements(
        build_policies(pipeline_without_preprocess({"region": "eu-central-1"}))["airflow"]
    )


def test_the_statistics_of_pinned_runs_may_be_read_and_nothing_beside_them() -> None:
    """Each once; those of the run before lie among the run's own files."""
    uri = "s3://other-bucket/work/abalone/run-1/statistics.json"
    column = "predicted_rings"
    drift = {"gate": "drift", "column": column, "max_psi": 0.2, "then": "warn"}
    pinned = build_policies(
        changed(gates=[{**drift, "against": uri}, {**drift, "against": uri, "max_psi": 0.3}, drift])
    )
    found = statements(pinned["airflow"])["Compare"]
    assert (found["Action"], found["Resource"]) == (["s3:GetObject"], [uri.replace("s3://", "arn:aws:s3:::")])
    assert problems(found) == []
    assert "Compare" not in statements(build_policies(changed(gates=[drift]))["airflow"])


def test_a_pipeline_whose_join_may_be_a_job_is_allowed_that_job_too() -> None:
    """It reads what two other jobs wrote, by manifests, and the wheels that the pipeline ships."""
    document = yaml.safe_load(EXAMPLE.read_text())
    plain = build_policies(example())
    found = build_policies(
        changed(
            join={**document["join"], "processing_above": 1},
            preprocess={**document["preprocess"], "wheels": "s3://batch-inference-sample/wheels/"},
        )
    )
    job = "arn:aws:sagemaker:us-east-1:123456789012:processing-job/abalone--join-0123456789ab-01234567-1"
    run = "arn:aws:s3:::batch-inference-sample/work/abalone/run-1"
    reads = [
        f"{run}/abalone--preprocess-0123456789ab-01234567-1/records/algo-1-00000.csv",
        f"{run}/{JOB}/predictions/algo-1-00000.csv.out",
        f"{run}/join-inputs/{JOB}-1/records.manifest",
        f"{run}/join-inputs/{JOB}-1/config/join.json",
        "arn:aws:s3:::batch-inference-sample/wheels/pyarrow.whl",
    ]
    assert any(matches(each, job) for each in statements(found["airflow"])["SubmitProcessing"]["Resource"])
    assert not any(
        matches(each, job) for each in statements(plain["airflow"])["SubmitProcessing"]["Resource"]
    )
    for arn in reads:
        assert any(matches(each, arn) for each in statements(found["sagemaker"])["Read"]["Resource"]), arn


def test_a_transform_that_goes_on_may_read_what_is_left_and_the_pieces_of_what_was_refused() -> None:
    """Its manifest always; pieces, and for a job that joins the mended shards, where the pipeline rejects poison."""
    run = f"arn:aws:s3:::batch-inference-sample/work/abalone/run-1/{JOB}"
    document = yaml.safe_load(EXAMPLE.read_text())

    def reads(key: str, **sections: Any) -> bool:
        found = statements(build_policies(changed(**sections))["sagemaker"])["Read"]["Resource"]
        return any(matches(each, f"{run}/{key}") for each in found)

    off = {**document["transform"], "on_bad_records": "fail"}
    job = {**document["join"], "processing_above": 1}
    piece, mended = "pieces/algo-1-00000.1-9.csv", "mended/records/algo-1-00000.csv"
    assert reads("predictions-manifest.json")
    assert reads("predictions-manifest.json", transform=off)
    assert (reads(piece), reads(piece, transform=off)) == (True, False)
    assert (reads(mended, join=job), reads(mended), reads(mended, join=job, transform=off)) == (
        True,
        False,
        False,
    )


def test_without_preprocessing_input_is_read_and_no_processing_job_is_allowed() -> None:
    """`cut_input` copies ranges of the input, `join` reads it; the transform reads it, the pieces and the manifests."""
    source = yaml.safe_load(EXAMPLE.read_text())
    for needs in ("preprocess", "rules"):
        source.pop(needs, None)
    source["input"]["columns"] = [{"name": "sex"}]
    made = build_policies(Pipeline.model_validate({**source, "region": "us-east-1"}))
    airflow, sagemaker = statements(made["airflow"]), statements(made["sagemaker"])
    assert [sid for sid in airflow if "Processing" in sid] == []
    incoming = "arn:aws:s3:::batch-inference-sample/abalone/incoming/*"
    assert airflow["ReadInput"]["Resource"] == [incoming]
    layout = "arn:aws:s3:::batch-inference-sample/work/abalone/*/layout/*"
    assert {incoming, f"{layout}/pieces/*", f"{layout}/jobs/*.manifest"} <= set(sagemaker["Read"]["Resource"])
    for document in made.values():
        for statement in document["Statement"]:
            if "Resource" in statement:
                assert problems(statement) == []


def test_no_statement_is_without_a_resource() -> None:
    """IAM refuses such a document; a model that exists and no preprocessing need no role passed and no image."""
    made = build_policies(pipeline_without_preprocess({"region": "eu-central-1"}))
    statements = [each for document in made.values() for each in document.get("Statement", ())]
    assert statements
    assert [each for each in statements if "Principal" not in each and not each["Resource"]] == []
