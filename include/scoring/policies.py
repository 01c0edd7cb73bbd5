"""The IAM policies that one pipeline needs, resource by resource, from its own requests.

Two roles take part: Airflow's, which plans, submits, waits, joins and publishes, and the one that SageMaker's jobs run
as (`role` in the pipeline file). A pipeline that names an existing model transforms under that model's role, which
needs what its artefacts need besides.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from include.scoring.config import Pipeline
from include.scoring.errors import PolicyError
from include.scoring.gates import pinned
from include.scoring.naming import (
    LayoutPaths,
    RunPaths,
    history_prefix,
    job_base_name,
    name_token,
    published_prefix,
    publishing_prefix,
    runs_prefix,
)
from include.scoring.placeholders import check_placeholders
from include.scoring.published_manifest import MANIFEST_NAME
from include.scoring.requests import (
    JOB_NAME,
    ProcessingValues,
    TransformValues,
    join_request,
    model_request,
    processing_request,
    transform_request,
)
from include.scoring.s3uri import as_folder, split
from include.scoring.sections import CatalogSection

VERSION = "2012-10-17"
SAGEMAKER = "sagemaker.amazonaws.com"
LOG_GROUPS = ("/aws/sagemaker/ProcessingJobs", "/aws/sagemaker/TransformJobs")
#: What a placeholder of a URI may become.
_PLACEHOLDER_PATTERNS = {"date": "????-??-??", "hour": "??", "run_id": "*"}
#: What `publish` writes directly below the output.
_PUBLISHED = (MANIFEST_NAME, "_SUCCESS", "part-*")
_NONCE = "0" * 16
_IMAGE = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/(?P<repository>[^:@]+)"
)

Statement = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Where the resources are."""

    partition: str
    account: str
    region: str

    def arn(self, service: str, resource: str) -> str:
        """ARN of a resource of this account and region."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"

    def s3(self, path: str) -> str:
        """ARN of a bucket, or of objects in it."""
        return f"arn:{self.partition}:s3:::{path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """The requests of any run of a pipeline: names and addresses are IAM patterns.

    `handed_on` are the prefixes of what one job wrote and a manifest names for another.
    """

    processing: tuple[dict[str, Any], ...]
    transform: dict[str, Any]
    model: dict[str, Any] | None
    handed_on: tuple[str, ...] = ()

    @property
    def all(self) -> list[dict[str, Any]]:
        """Those that there are."""
        return [*self.processing, self.transform, *([] if self.model is None else [self.model])]

    @property
    def kinds(self) -> dict[str, list[str]]:
        """Patterns of the jobs' base names by kind of job, of those that there are."""
        jobs = {"Processing": self.processing, "Transform": (self.transform,)}
        return {kind: [job[f"{kind}JobName"] for job in each] for kind, each in jobs.items() if each}

    def values(self, *keys: str) -> list[Any]:
        """Every value of these keys at any depth of any request, without repetition, in order."""
        return list(dict.fromkeys(value for each in self.all for value in _values(each, keys)))


def policies(
    pipeline: Pipeline,
    *,
    region: str | None = None,
    inputs: Iterable[str] = (),
    outputs: Iterable[str] = (),
    images: Iterable[str] = (),
    model_data: Iterable[str] = (),
) -> dict[str, dict[str, Any]]:
    """Policy documents by name: `airflow`, `sagemaker`, `sagemaker_trust`, which lets SageMaker assume its role, and
    `janitor`, which Airflow's role needs besides where the janitor DAG runs.

    `inputs` and `outputs` are S3 URIs that runs by hand may name besides the pipeline's own. What a model package
    consists of is not in the pipeline: `images` and the S3 prefixes `model_data` say it for all versions to come.
    Raises PolicyError when the region is not known, an image is not in ECR, or a package's parts are not given.
    """
    images, model_data = list(images), list(model_data)
    found = [_image(uri) for uri in (*_requests(pipeline).values("ImageUri", "Image"), *images)]
    account = Account(
        partition=pipeline.role.split(":")[1],
        account=pipeline.role.split(":")[4],
        region=region or pipeline.region or _region_of(found),
    )
    requests = _requests(pipeline, _package(pipeline, account))
    if _package(pipeline, account) and not (images and model_data):
        raise PolicyError(
            "the pipeline's model is in the model registry, so its images and artefacts are not in the file: give "
            "--image URI and --model-data s3://bucket/prefix/ for those of its versions"
        )
    sources = [_pattern(uri) for uri in (pipeline.input.uri, *inputs)]
    targets = [as_folder(_pattern(uri)) for uri in (pipeline.output.uri, *outputs)]
    return {
        "airflow": _document(_airflow(pipeline, account, requests, sources, targets)),
        "sagemaker": _document(
            _sagemaker(pipeline, account, requests, found, [*sources, *map(_literal, model_data)])
        ),
        "sagemaker_trust": _trust(account),
        "janitor": _document(_janitor(pipeline, account, requests, targets)),
    }


def role_request(pipeline: Pipeline, trust: Mapping[str, Any]) -> dict[str, Any]:
    """CreateRole of the role that SageMaker's jobs run as, for `aws iam create-role --cli-input-json`.

    `trust` is the document `sagemaker_trust` of `policies`.
    """
    path, _, name = pipeline.role.partition(":role/")[2].rpartition("/")
    boundary = pipeline.security.permissions_boundary
    return {
        "Path": f"/{path}/" if path else "/",
        "RoleName": name,
        "AssumeRolePolicyDocument": json.dumps(trust),
        "Description": f"What the SageMaker jobs of {pipeline.name} run as",
        **({} if boundary is None else {"PermissionsBoundary": boundary}),
        "Tags": [
            {"Key": key, "Value": value}
            for key, value in {"pipeline": pipeline.name, **pipeline.tags}.items()
        ],
    }


def _trust(account: Account) -> dict[str, Any]:
    """SageMaker may assume the role for jobs and models of this account and region alone, not on behalf of others."""
    ours = {
        "StringEquals": {"aws:SourceAccount": account.account},
        "ArnLike": {"aws:SourceArn": account.arn("sagemaker", "*")},
    }
    statement = {"Effect": "Allow", "Principal": {"Service": SAGEMAKER}, "Action": ["sts:AssumeRole"]}
    return _document([{**statement, "Condition": ours}])


def _airflow(
    pipeline: Pipeline, account: Account, requests: Requests, sources: list[str], targets: list[str]
) -> Iterator[Statement]:
    runs = _literal(runs_prefix(work=pipeline.work, pipeline=pipeline.name))
    published = [f"{target}{name}" for target in targets for name in _PUBLISHED]
    parts = [f"{target}part-*" for target in targets]
    yield from _listing(account, [*sources, f"{runs}*", *(f"{target}*" for target in targets)])
    yield _allow("RunAndOutput", _objects("GetObject", "PutObject", "AbortMultipartUpload"), [
        account.s3(path) for path in (f"{runs}*", *published)
    ])  # fmt: skip
    if pipeline.preprocess is None:
        # It looks at line ends, copies byte ranges, and joins the records of the input itself.
        yield _allow("ReadInput", _objects("GetObject"), [account.s3(f"{source}*") for source in sources])
    else:
        # Where the input is what another pipeline published, its manifest says which objects are.
        manifests = [account.s3(f"{source}*{MANIFEST_NAME}") for source in sources]
        yield _allow("FollowManifests", _objects("GetObject"), manifests)
    if pipeline.goals.calibrate == "canary":
        # The shard that is transformed alone is taken from among the others.
        yield _allow("SetAside", _objects("DeleteObject"), [account.s3(f"{runs}*/features/*")])
        yield _keep_what_outlives_runs(pipeline, account)
    tries = f"{_literal(publishing_prefix(work=pipeline.work, pipeline=pipeline.name))}*"
    yield _allow("ReplaceOutput", _objects("DeleteObject"), [account.s3(path) for path in (*parts, tries)])
    for kind in requests.kinds:
        jobs = _jobs(account, requests, kind)
        more = _only_this_model(account, requests) if kind == "Transform" else {}
        yield _allow(f"Submit{kind}", [f"sagemaker:Create{kind}Job"], jobs, more)
        yield _allow(
            f"Follow{kind}",
            [
                f"sagemaker:Describe{kind}Job",
                f"sagemaker:Stop{kind}Job",
                "sagemaker:AddTags",
                "sagemaker:ListTags",
            ],
            jobs,
        )
    model = [account.arn("sagemaker", f"model/{requests.transform['ModelName']}".lower())]
    if requests.model is None:
        yield _allow("Model", ["sagemaker:DescribeModel"], model)
    else:
        actions = [
            f"sagemaker:{action}"
            for action in ("CreateModel", "DescribeModel", "DeleteModel", "AddTags", "ListTags")
        ]
        yield _allow("Model", actions, model)
    package = _package(pipeline, account)
    if package:
        listing = ["sagemaker:ListModelPackages"] if pipeline.model.group else []
        yield _allow("Registry", [*listing, "sagemaker:DescribeModelPackage"], [package])
    yield _find_what_is_left()
    yield _allow("Quotas", ["servicequotas:ListServiceQuotas"], ["*"])
    if pipeline.model.containers:
        # Whoever starts a run by hand may ask whether it would change anything.
        archives = [_bare(_literal_uri(uri)) for uri in requests.values("ModelDataUrl")]
        yield _allow("CompareModel", _objects("GetObject"), [account.s3(path) for path in archives])
    if pinned(pipeline.gates):
        yield _allow("Compare", _objects("GetObject"), [
            account.s3(_literal(uri)) for uri in pinned(pipeline.gates)
        ])  # fmt: skip
    if pipeline.output.catalog is not None:
        yield _register(account, pipeline.output.catalog)
    to_sagemaker = {"StringEquals": {"iam:PassedToService": SAGEMAKER}}
    yield _allow("PassRole", ["iam:PassRole"], requests.values("RoleArn", "ExecutionRoleArn"), to_sagemaker)
    groups = [account.arn("logs", f"log-group:{group}") for group in LOG_GROUPS]
    yield _allow(
        "FindLogs", ["logs:DescribeLogStreams"], [f"{group}{tail}" for group in groups for tail in ("", ":*")]
    )
    yield _allow("ReadLogs", ["logs:GetLogEvents"], _log_streams(groups, requests))
    yield from _keys(account, requests, "VolumeKmsKeyId")
    yield from _keys(account, requests, "KmsKeyId")


def _register(account: Account, catalog: CatalogSection) -> Statement:
    """Glue checks the catalog, the database and the table."""
    actions = [f"glue:{action}" for action in ("CreateTable", "CreatePartition", "UpdatePartition")]
    names = ("catalog", f"database/{catalog.database}", f"table/{catalog.database}/{catalog.table}")
    return _allow("Catalog", actions, [account.arn("glue", name) for name in names])


def _janitor(
    pipeline: Pipeline, account: Account, requests: Requests, targets: list[str]
) -> Iterator[Statement]:
    """Stop any job of this pipeline, delete any model made for its runs, the files of its runs, and part files that
    were replaced or that no run will publish."""
    runs = _literal(runs_prefix(work=pipeline.work, pipeline=pipeline.name))
    tries = f"{_literal(publishing_prefix(work=pipeline.work, pipeline=pipeline.name))}*"
    manifests = [f"{target}_manifest.json" for target in targets]
    yield from _listing(account, [f"{runs}*", *(f"{target}*" for target in targets)])
    yield _allow("ReadPlans", _objects("GetObject"), [
        account.s3(path) for path in (f"{runs}*/plan.json", tries, *manifests)
    ])  # fmt: skip
    yield _allow("GiveUpTries", _objects("PutObject"), [account.s3(tries)])
    yield _allow("DeleteParts", _objects("DeleteObject"), [
        account.s3(path) for path in (tries, *(f"{target}part-*" for target in targets))
    ])  # fmt: skip
    yield _allow("DeleteRuns", _objects("DeleteObject"), [account.s3(f"{runs}*/*")])
    yield _keep_what_outlives_runs(pipeline, account)
    for kind in requests.kinds:
        actions = [f"sagemaker:{verb}{kind}Job" for verb in ("Describe", "Stop")]
        jobs = _jobs(account, requests, kind)
        yield _allow(f"Stop{kind}", [*actions, "sagemaker:AddTags", "sagemaker:ListTags"], jobs)
    if requests.model is not None:
        models = [account.arn("sagemaker", f"model/{requests.model['ModelName']}".lower())]
        yield _allow("DeleteModels", ["sagemaker:DeleteModel", "sagemaker:ListTags"], models)
    yield _find_what_is_left()


def _keep_what_outlives_runs(pipeline: Pipeline, account: Account) -> Statement:
    """Deny deletions of what all runs together have measured and published.

    A pattern cannot exclude them from the folders of the runs, of which none begins with `_` (see `run_slug`).
    """
    place = {"work": pipeline.work, "pipeline": pipeline.name}
    kept = [account.s3(f"{_literal(prefix(**place))}*") for prefix in (history_prefix, published_prefix)]
    return {**_allow("KeepWhatOutlivesRuns", _objects("DeleteObject"), kept), "Effect": "Deny"}


def _sagemaker(
    pipeline: Pipeline,
    account: Account,
    requests: Requests,
    images: list[re.Match[str]],
    sources: list[str],
) -> Iterator[Statement]:
    prefixes: list[str] = list(sources)
    exact: list[str] = []
    read_by_transform = requests.transform["TransformInput"]["DataSource"]["S3DataSource"]
    read_by_processing = [item["S3Input"] for job in requests.processing for item in job["ProcessingInputs"]]
    for each in [*read_by_processing, read_by_transform]:
        found = exact if each["S3DataType"] == "ManifestFile" else prefixes
        found.append(_bare(each["S3Uri"]))
    prefixes += map(_bare, requests.handed_on)
    if pipeline.goals.calibrate == "canary":
        prefixes.append(f"{_bare(read_by_transform['S3Uri']).removesuffix('features/')}canary/")
    if not requests.processing:
        prefixes.append(_bare(_any_layout(pipeline).pieces))
    exact += [_bare(_literal_uri(uri)) for uri in requests.values("ModelDataUrl")]
    outputs = [output for job in requests.processing for output in job["ProcessingOutputConfig"]["Outputs"]]
    targets = [_bare(each["S3Output"]["S3Uri"]) for each in outputs]
    targets.append(_bare(requests.transform["TransformOutput"]["S3OutputPath"]))
    yield from _listing(account, prefixes)
    read = [*(f"{prefix}*" for prefix in prefixes), *exact]
    yield _allow("Read", _objects("GetObject"), [account.s3(path) for path in read])
    write = [account.s3(f"{target}*") for target in targets]
    yield _allow("Write", _objects("PutObject", "AbortMultipartUpload"), write)
    yield _allow("SignInToRegistry", ["ecr:GetAuthorizationToken"], ["*"])
    pull = ("BatchCheckLayerAvailability", "GetDownloadUrlForLayer", "BatchGetImage")
    repositories = dict.fromkeys(
        f"arn:{account.partition}:ecr:{image['region']}:{image['account']}:repository/{image['repository']}"
        for image in images
    )
    yield _allow("Images", [f"ecr:{action}" for action in pull], list(repositories))
    groups = [account.arn("logs", f"log-group:{group}") for group in LOG_GROUPS]
    both = [f"{group}{tail}" for group in groups for tail in ("", ":*")]
    yield _allow("LogGroups", ["logs:CreateLogGroup", "logs:DescribeLogStreams"], both)
    yield _allow("Logs", ["logs:CreateLogStream", "logs:PutLogEvents"], _log_streams(groups, requests))
    ours = {"StringEquals": {"cloudwatch:namespace": list(LOG_GROUPS)}}
    yield _allow("Metrics", ["cloudwatch:PutMetricData"], ["*"], ours)
    yield from _keys(account, requests, "VolumeKmsKeyId")
    yield from _keys(account, requests, "KmsKeyId")
    yield from _network(account, requests)


def _package(pipeline: Pipeline, account: Account) -> str:
    """ARN pattern of the package, or of the group's versions; nothing where the model is of neither."""
    section = pipeline.model
    if section.group is None:
        return section.package or ""
    if section.group.startswith("arn:"):
        return f"{section.group.replace(':model-package-group/', ':model-package/')}/*"
    return account.arn("sagemaker", f"model-package/{section.group.lower()}/*")


def _requests(pipeline: Pipeline, package: str = "") -> Requests:
    """The requests of a run, with patterns for what differs from run to run; the numbers do not matter here."""
    run_prefix = _run_prefix(pipeline)
    names = {step: _name_pattern(pipeline, step) for step in ("preprocess", "transform", "model", "join")}
    paths = RunPaths(run_prefix)
    processing = []
    if pipeline.preprocess is not None:
        values = partial(
            ProcessingValues,
            run_prefix=run_prefix,
            instance_type=pipeline.preprocess.instance_type,
            instance_count=1,
            volume_size_gb=1,
            max_runtime_seconds=1,
        )
        processing.append(processing_request(pipeline, values(job_name=names["preprocess"])))
        if pipeline.join.processing_above is not None:
            told = paths.join_inputs(f"{names['transform']}-*")
            processing.append(join_request(pipeline, values(job_name=names["join"]), told))
    transform = TransformValues(
        job_name=names["transform"],
        model_name=names["model"],
        run_prefix=run_prefix,
        features_uri=paths.job(f"{names['preprocess']}-*").features
        if processing
        else _any_layout(pipeline).manifest("*"),
        instance_type=pipeline.transform.instance_type,
        instance_count=1,
        max_concurrent_transforms=1,
        max_payload_mb=1,
        batch_strategy=pipeline.transform.strategy,
        model_package=package,
    )
    return Requests(
        processing=tuple(_with_name(each, each["ProcessingJobName"]) for each in processing),
        transform=_with_name(transform_request(pipeline, transform), names["transform"]),
        model=model_request(pipeline, transform),
        handed_on=_handed_on(pipeline, paths, names, joins=len(processing) > 1),
    )


def _handed_on(
    pipeline: Pipeline, paths: RunPaths, names: Mapping[str, str], *, joins: bool
) -> tuple[str, ...]:
    """What a further transform reads after one that failed, and what a job reads that joins."""
    transform = paths.job(f"{names['transform']}-*")
    found = [f"{transform.predictions.rstrip('/')}-manifest.json"]
    if pipeline.preprocess is not None and pipeline.transform.on_poison == "reject":
        found.append(transform.pieces)
    if joins:
        found += [paths.job(f"{names['preprocess']}-*").records, transform.predictions]
        found += [transform.mended] if transform.pieces in found else []
    return tuple(found)


def _run_prefix(pipeline: Pipeline) -> str:
    """Where any run of the pipeline works, as a pattern."""
    return f"s3://{_literal(runs_prefix(work=pipeline.work, pipeline=pipeline.name))}*/"


def _any_layout(pipeline: Pipeline) -> LayoutPaths:
    """How any run without preprocessing lays its input out, as patterns."""
    return RunPaths(_run_prefix(pipeline)).layout("*")


def _with_name(value: Any, name: str) -> Any:
    """A request with the pattern of its final name where the name is to be filled in."""
    if isinstance(value, dict):
        return {key: _with_name(each, name) for key, each in value.items()}
    if isinstance(value, list):
        return [_with_name(each, name) for each in value]
    return value.replace(JOB_NAME, f"{name}-*") if isinstance(value, str) else value


def _name_pattern(pipeline: Pipeline, step: str) -> str:
    """The base name of a step's job, with `?` for each digit of what differs from run to run."""
    base = job_base_name(pipeline=pipeline.name, step=step, nonce=_NONCE, task_id=step)
    head, token, tail = base.rpartition(name_token(_NONCE))
    return f"{head}{'?' * len(token)}{re.sub('[0-9a-f]', '?', tail)}"


def _listing(account: Account, patterns: Iterable[str]) -> Iterator[Statement]:
    """Listings of each bucket, of these prefixes only."""
    buckets: dict[str, list[str]] = {}
    for pattern in patterns:
        bucket, _, key = pattern.partition("/")
        buckets.setdefault(bucket, []).append(key)
    for number, (bucket, keys) in enumerate(buckets.items(), start=1):
        prefixes = {"StringLike": {"s3:prefix": list(dict.fromkeys(keys))}}
        yield _allow(f"List{number}", ["s3:ListBucket"], [account.s3(bucket)], prefixes)


def _log_streams(groups: list[str], requests: Requests) -> list[str]:
    """The streams of this pipeline's jobs: `<job name>/<host>`."""
    by_kind = dict(zip(("Processing", "Transform"), groups, strict=True))
    return [
        f"{by_kind[kind]}:log-stream:{name}-*" for kind, names in requests.kinds.items() for name in names
    ]


def _jobs(account: Account, requests: Requests, kind: str) -> list[str]:
    """All attempts at this pipeline's jobs of a kind, Processing or Transform."""
    return [
        account.arn("sagemaker", f"{kind.lower()}-job/{name}-{attempt}")
        for name in requests.kinds[kind]
        for attempt in ("?", "??")
    ]


def _find_what_is_left() -> Statement:
    """Lists, which can be allowed for all names or for none."""
    lists = [f"sagemaker:List{kind}" for kind in ("Models", "ProcessingJobs", "TransformJobs")]
    return _allow("FindWhatIsLeft", lists, ["*"])


def _only_this_model(account: Account, requests: Requests) -> Mapping[str, Any]:
    name = requests.transform["ModelName"]
    return {"ArnLike": {"sagemaker:ModelArn": account.arn("sagemaker", f"model/{name}".lower())}}


def _keys(account: Account, requests: Requests, field: str) -> Iterator[Statement]:
    """Use of the keys in this field: of volumes by a grant to the instances, of objects through S3."""
    volumes = field.startswith("Volume")
    actions = ["kms:CreateGrant"] if volumes else ["kms:Decrypt", "kms:GenerateDataKey"]
    limit: dict[str, dict[str, Any]] = (
        {"Bool": {"kms:GrantIsForAWSResource": "true"}}
        if volumes
        else {"StringEquals": {"kms:ViaService": f"s3.{account.region}.{_domain(account)}"}}
    )
    for number, key in enumerate(requests.values(field), start=1):
        more: dict[str, dict[str, Any]] = {}
        arn = key if key.startswith("arn:") else account.arn("kms", f"key/{key}")
        if "alias/" in key:
            # A policy names keys, not aliases; which key has the alias is asked when the call is made.
            more = {
                "ForAnyValue:StringEquals": {"kms:ResourceAliases": f"alias/{key.rpartition('alias/')[2]}"}
            }
            arn = (
                f"{key.rpartition('alias/')[0]}key/*"
                if key.startswith("arn:")
                else account.arn("kms", "key/*")
            )
        yield _allow(f"{'VolumeKey' if volumes else 'ObjectKey'}{number}", actions, [arn], {**limit, **more})


def _network(account: Account, requests: Requests) -> Iterator[Statement]:
    """The network interfaces with which jobs join a VPC."""
    subnets = [each for value in requests.all for found in _values(value, ("Subnets",)) for each in found]
    groups = [
        each for value in requests.all for found in _values(value, ("SecurityGroupIds",)) for each in found
    ]
    if not subnets:
        return
    interface = account.arn("ec2", "network-interface/*")
    places = [
        *(account.arn("ec2", f"subnet/{each}") for each in dict.fromkeys(subnets)),
        *(account.arn("ec2", f"security-group/{each}") for each in dict.fromkeys(groups)),
    ]
    yield _allow("JoinNetwork", ["ec2:CreateNetworkInterface"], [interface, *places])
    interfaces = (
        "CreateNetworkInterfacePermission",
        "DeleteNetworkInterface",
        "DeleteNetworkInterfacePermission",
    )
    yield _allow("Interfaces", [f"ec2:{action}" for action in interfaces], [interface])
    looks = ("NetworkInterfaces", "Vpcs", "DhcpOptions", "Subnets", "SecurityGroups")
    yield _allow("LookAtNetwork", [f"ec2:Describe{each}" for each in looks], ["*"])


def _allow(
    sid: str, actions: list[str], resources: list[str], condition: Mapping[str, Any] | None = None
) -> Statement:
    statement: Statement = {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources}
    return {**statement, "Condition": dict(condition)} if condition else statement


def _document(statements: Iterable[Statement]) -> dict[str, Any]:
    # IAM takes no statement without a resource: a pipeline that needs none of a kind has none.
    return {"Version": VERSION, "Statement": [each for each in statements if each.get("Resource", True)]}


def _objects(*actions: str) -> list[str]:
    return [f"s3:{action}" for action in actions]


def _values(value: Any, keys: tuple[str, ...]) -> Iterator[Any]:
    if isinstance(value, dict):
        for key, each in value.items():
            if key in keys:
                yield each
            else:
                yield from _values(each, keys)
    elif isinstance(value, list):
        for each in value:
            yield from _values(each, keys)


def _pattern(uri: str) -> str:
    """`bucket/key` of a URI as an IAM pattern, with what each placeholder may become."""
    check_placeholders(uri)
    parts = re.split(r"\{(\w+)\}", uri)
    literal = [_escaped(part) for part in parts[::2]]
    filled = [_PLACEHOLDER_PATTERNS[name] for name in parts[1::2]]
    return _bare("".join(part for pair in zip(literal, [*filled, ""], strict=True) for part in pair))


def _literal(uri: str) -> str:
    """`bucket/key` of a URI as an IAM pattern that matches nothing else."""
    return _bare(_literal_uri(uri))


def _literal_uri(uri: str) -> str:
    split(uri)
    return _escaped(uri)


def _escaped(text: str) -> str:
    """IAM's own way to write characters that it reads as patterns or variables."""
    return re.sub(r"[*?$]", lambda match: f"${{{match[0]}}}", text)


def _bare(uri: str) -> str:
    return uri.removeprefix("s3://")


def _image(uri: str) -> re.Match[str]:
    found = _IMAGE.match(uri)
    if found is None:
        raise PolicyError(
            f"found the image {uri!r}; SageMaker takes images from ECR, such as "
            f"123456789012.dkr.ecr.us-east-1.amazonaws.com/name:tag"
        )
    return found


def _region_of(images: Iterable[re.Match[str]]) -> str:
    """SageMaker takes images from its own region, so they tell where the jobs run."""
    regions = sorted({image["region"] for image in images})
    if len(regions) != 1:
        raise PolicyError(
            f"found images in the regions {', '.join(regions) or 'none'}; all have to be in the region of the jobs. "
            f"Set region in the pipeline file, or name it here"
        )
    return regions[0]


def _domain(account: Account) -> str:
    return "amazonaws.com.cn" if account.partition == "aws-cn" else "amazonaws.com"
