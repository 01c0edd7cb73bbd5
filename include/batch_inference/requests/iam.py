"""Builds the IAM policies that one pipeline needs, resource by resource, from its own requests.

There are two roles: Airflow's, which plans, submits, waits, joins and publishes, and the execution role of SageMaker's
jobs (`role` in the pipeline file). A pipeline that names an existing model transforms with that model's role, which
also needs access to the model's artefacts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from batch_inference.common.errors import PolicyError
from batch_inference.common.names import (
    MANIFEST_NAME,
    InputLayoutPaths,
    RunPaths,
    build_history_prefix,
    build_job_name_wildcard,
    build_publish_journal_prefix,
    build_published_runs_prefix,
    build_runs_prefix,
)
from batch_inference.common.s3_uri import ensure_trailing_slash, split_s3_uri
from batch_inference.config.pipeline import Pipeline
from batch_inference.config.placeholders import check_placeholders
from batch_inference.config.sections.gates import find_pinned_statistics
from batch_inference.config.sections.stages import GlueTableSection
from batch_inference.requests.sagemaker import (
    BASE_NAME,
    JOB_NAME_TOKEN,
    JOIN_INPUTS,
    MODEL_NAME,
    SOURCE_URI,
    build_requests,
    replace_tokens,
)

POLICY_VERSION = "2012-10-17"
SAGEMAKER_SERVICE = "sagemaker.amazonaws.com"
LOG_GROUPS = ("/aws/sagemaker/ProcessingJobs", "/aws/sagemaker/TransformJobs")
#: IAM patterns for the placeholders of a URI.
_PLACEHOLDER_PATTERNS = {"date": "????-??-??", "hour": "??", "run_id": "*"}
#: Names that `publish` writes directly below the output.
_PUBLISHED_NAMES = (MANIFEST_NAME, "_SUCCESS", "part-*")
_IMAGE = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/(?P<repository>[^:@]+)"
)

Statement = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Partition, account and region of the resources."""

    partition: str
    account: str
    region: str

    def build_arn(self, service: str, resource: str) -> str:
        """ARN of a resource of this account and region."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"

    def build_s3_arn(self, path: str) -> str:
        """ARN of a bucket, or of objects in it."""
        return f"arn:{self.partition}:s3:::{path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPatterns:
    """The requests of any run of a pipeline, with IAM patterns for names and URIs.

    `handed_on_prefixes` are below the output of one job; a manifest names their objects for another job.
    """

    processing: tuple[dict[str, Any], ...]
    transform: dict[str, Any]
    model: dict[str, Any] | None
    handed_on_prefixes: tuple[str, ...] = ()

    @property
    def all_requests(self) -> list[dict[str, Any]]:
        """All requests of the run."""
        return [*self.processing, self.transform, *([] if self.model is None else [self.model])]

    @property
    def name_patterns(self) -> dict[str, list[str]]:
        """Patterns of the jobs' base names by kind of job: Processing, Transform."""
        jobs = {"Processing": self.processing, "Transform": (self.transform,)}
        return {kind: [job[f"{kind}JobName"] for job in each] for kind, each in jobs.items() if each}

    def find_values(self, *keys: str) -> list[Any]:
        """Every distinct value of these keys at any depth of any request, in order."""
        return list(dict.fromkeys(value for each in self.all_requests for value in _find_values(each, keys)))


def build_policies(
    pipeline: Pipeline,
    *,
    region: str | None = None,
    inputs: Iterable[str] = (),
    outputs: Iterable[str] = (),
    images: Iterable[str] = (),
    model_data: Iterable[str] = (),
) -> dict[str, dict[str, Any]]:
    """Policy documents by name: `airflow`, `sagemaker`, `sagemaker_trust`, which lets SageMaker assume its role, and
    `janitor`, which Airflow's role also needs where the janitor DAG runs.

    `inputs` and `outputs` are S3 URIs that manual runs may name besides the pipeline's own. The pipeline does not
    contain the parts of a model package: `images` and the S3 prefixes `model_data` name them for all future versions.
    Raises PolicyError when the region is not known, an image is not in ECR, or a package's parts are missing.
    """
    images, model_data = list(images), list(model_data)
    found = [
        _parse_image(uri) for uri in (*_build_requests(pipeline).find_values("ImageUri", "Image"), *images)
    ]
    account = Account(
        partition=pipeline.role.split(":")[1],
        account=pipeline.role.split(":")[4],
        region=region or pipeline.region or _find_region(found),
    )
    requests = _build_requests(pipeline, _model_package_arn(pipeline, account))
    if _model_package_arn(pipeline, account) and not (images and model_data):
        raise PolicyError(
            "the pipeline's model is in the model registry, so its images and artefacts are not in the file: give "
            "--image URI and --model-data s3://bucket/prefix/ for those of its versions"
        )
    sources = [_uri_pattern(uri) for uri in (pipeline.input.uri, *inputs)]
    targets = [ensure_trailing_slash(_uri_pattern(uri)) for uri in (pipeline.output.uri, *outputs)]
    return {
        "airflow": _build_document(_airflow_statements(pipeline, account, requests, sources, targets)),
        "sagemaker": _build_document(
            _sagemaker_statements(
                pipeline, account, requests, found, [*sources, *map(_escape_uri, model_data)]
            )
        ),
        "sagemaker_trust": _build_trust_policy(account),
        "janitor": _build_document(_janitor_statements(pipeline, account, requests, targets)),
    }


def build_role_request(pipeline: Pipeline, trust: Mapping[str, Any]) -> dict[str, Any]:
    """CreateRole of the execution role of SageMaker's jobs, for `aws iam create-role --cli-input-json`.

    `trust` is the document `sagemaker_trust` of `build_policies`.
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


def _build_trust_policy(account: Account) -> dict[str, Any]:
    """SageMaker may assume the role only for jobs and models of this account and region (no confused deputy)."""
    ours = {
        "StringEquals": {"aws:SourceAccount": account.account},
        "ArnLike": {"aws:SourceArn": account.build_arn("sagemaker", "*")},
    }
    statement = {"Effect": "Allow", "Principal": {"Service": SAGEMAKER_SERVICE}, "Action": ["sts:AssumeRole"]}
    return _build_document([{**statement, "Condition": ours}])


def _airflow_statements(
    pipeline: Pipeline, account: Account, requests: RequestPatterns, sources: list[str], targets: list[str]
) -> Iterator[Statement]:
    runs = _escape_uri(build_runs_prefix(work=pipeline.work, pipeline=pipeline.name))
    published = [f"{target}{name}" for target in targets for name in _PUBLISHED_NAMES]
    parts = [f"{target}part-*" for target in targets]
    yield from _list_statements(account, [*sources, f"{runs}*", *(f"{target}*" for target in targets)])
    yield _allow("RunAndOutput", _s3_actions("GetObject", "PutObject", "AbortMultipartUpload"), [
        account.build_s3_arn(path) for path in (f"{runs}*", *published)
    ])  # fmt: skip
    if pipeline.preprocess is None:
        # The plan probes the input, `cut_input` copies its byte ranges, and `join` reads its records.
        yield _allow(
            "ReadInput", _s3_actions("GetObject"), [account.build_s3_arn(f"{source}*") for source in sources]
        )
    else:
        # If the input is the output of another pipeline, its manifest names the objects.
        manifests = [account.build_s3_arn(f"{source}*{MANIFEST_NAME}") for source in sources]
        yield _allow("FollowManifests", _s3_actions("GetObject"), manifests)
    if pipeline.goals.calibrate == "canary":
        # The canary's shard is moved out of the others' prefix.
        yield _allow("SetAside", _s3_actions("DeleteObject"), [account.build_s3_arn(f"{runs}*/features/*")])
        yield _keep_what_outlives_runs(pipeline, account)
    tries = f"{_escape_uri(build_publish_journal_prefix(work=pipeline.work, pipeline=pipeline.name))}*"
    yield _allow(
        "ReplaceOutput", _s3_actions("DeleteObject"), [account.build_s3_arn(path) for path in (*parts, tries)]
    )
    for kind in requests.name_patterns:
        jobs = _job_arns(account, requests, kind)
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
    model = [account.build_arn("sagemaker", f"model/{requests.transform['ModelName']}".lower())]
    if requests.model is None:
        yield _allow("Model", ["sagemaker:DescribeModel"], model)
    else:
        actions = [
            f"sagemaker:{action}"
            for action in ("CreateModel", "DescribeModel", "DeleteModel", "AddTags", "ListTags")
        ]
        yield _allow("Model", actions, model)
    package = _model_package_arn(pipeline, account)
    if package:
        listing = ["sagemaker:ListModelPackages"] if pipeline.model.group else []
        yield _allow("Registry", [*listing, "sagemaker:DescribeModelPackage"], [package])
    yield _list_jobs_statement()
    yield _allow("Quotas", ["servicequotas:ListServiceQuotas"], ["*"])
    if pipeline.model.containers:
        # A manual run may ask to skip if nothing has changed.
        archives = [_strip_scheme(_escape_full_uri(uri)) for uri in requests.find_values("ModelDataUrl")]
        yield _allow(
            "CompareModel", _s3_actions("GetObject"), [account.build_s3_arn(path) for path in archives]
        )
    if find_pinned_statistics(pipeline.gates):
        yield _allow("Compare", _s3_actions("GetObject"), [
            account.build_s3_arn(_escape_uri(uri)) for uri in find_pinned_statistics(pipeline.gates)
        ])  # fmt: skip
    if pipeline.output.glue_table is not None:
        yield _glue_statement(account, pipeline.output.glue_table)
    to_sagemaker = {"StringEquals": {"iam:PassedToService": SAGEMAKER_SERVICE}}
    yield _allow(
        "PassRole", ["iam:PassRole"], requests.find_values("RoleArn", "ExecutionRoleArn"), to_sagemaker
    )
    groups = [account.build_arn("logs", f"log-group:{group}") for group in LOG_GROUPS]
    yield _allow(
        "FindLogs", ["logs:DescribeLogStreams"], [f"{group}{tail}" for group in groups for tail in ("", ":*")]
    )
    yield _allow("ReadLogs", ["logs:GetLogEvents"], _log_stream_arns(groups, requests))
    yield from _kms_statements(account, requests, "VolumeKmsKeyId")
    yield from _kms_statements(account, requests, "KmsKeyId")


def _glue_statement(account: Account, glue_table: GlueTableSection) -> Statement:
    """Glue checks the catalog, the database and the table."""
    actions = [f"glue:{action}" for action in ("CreateTable", "CreatePartition", "UpdatePartition")]
    names = ("catalog", f"database/{glue_table.database}", f"table/{glue_table.database}/{glue_table.table}")
    return _allow("Catalog", actions, [account.build_arn("glue", name) for name in names])


def _janitor_statements(
    pipeline: Pipeline, account: Account, requests: RequestPatterns, targets: list[str]
) -> Iterator[Statement]:
    """Stop any job of this pipeline; delete models created for its runs, the files of its runs, and part files that
    were replaced or that no run will publish."""
    runs = _escape_uri(build_runs_prefix(work=pipeline.work, pipeline=pipeline.name))
    tries = f"{_escape_uri(build_publish_journal_prefix(work=pipeline.work, pipeline=pipeline.name))}*"
    manifests = [f"{target}{MANIFEST_NAME}" for target in targets]
    yield from _list_statements(account, [f"{runs}*", *(f"{target}*" for target in targets)])
    yield _allow("ReadPlans", _s3_actions("GetObject"), [
        account.build_s3_arn(path) for path in (f"{runs}*/plan.json", tries, *manifests)
    ])  # fmt: skip
    yield _allow("GiveUpTries", _s3_actions("PutObject"), [account.build_s3_arn(tries)])
    yield _allow("DeleteParts", _s3_actions("DeleteObject"), [
        account.build_s3_arn(path) for path in (tries, *(f"{target}part-*" for target in targets))
    ])  # fmt: skip
    yield _allow("DeleteRuns", _s3_actions("DeleteObject"), [account.build_s3_arn(f"{runs}*/*")])
    yield _keep_what_outlives_runs(pipeline, account)
    for kind in requests.name_patterns:
        actions = [f"sagemaker:{verb}{kind}Job" for verb in ("Describe", "Stop")]
        jobs = _job_arns(account, requests, kind)
        yield _allow(f"Stop{kind}", [*actions, "sagemaker:AddTags", "sagemaker:ListTags"], jobs)
    if requests.model is not None:
        models = [account.build_arn("sagemaker", f"model/{requests.model['ModelName']}".lower())]
        yield _allow("DeleteModels", ["sagemaker:DeleteModel", "sagemaker:ListTags"], models)
    yield _list_jobs_statement()


def _keep_what_outlives_runs(pipeline: Pipeline, account: Account) -> Statement:
    """Deny deletion of the pipeline's history and of its record of published runs.

    No pattern can exclude these from the folders of the runs, none of which begins with `_` (see `slugify_run_id`).
    """
    place = {"work": pipeline.work, "pipeline": pipeline.name}
    kept = [
        account.build_s3_arn(f"{_escape_uri(prefix(**place))}*")
        for prefix in (build_history_prefix, build_published_runs_prefix)
    ]
    return {**_allow("KeepWhatOutlivesRuns", _s3_actions("DeleteObject"), kept), "Effect": "Deny"}


def _sagemaker_statements(
    pipeline: Pipeline,
    account: Account,
    requests: RequestPatterns,
    images: list[re.Match[str]],
    sources: list[str],
) -> Iterator[Statement]:
    prefixes: list[str] = list(sources)
    exact: list[str] = []
    read_by_transform = requests.transform["TransformInput"]["DataSource"]["S3DataSource"]
    read_by_processing = [item["S3Input"] for job in requests.processing for item in job["ProcessingInputs"]]
    for each in [*read_by_processing, read_by_transform]:
        found = exact if each["S3DataType"] == "ManifestFile" else prefixes
        found.append(_strip_scheme(each["S3Uri"]))
    prefixes += map(_strip_scheme, requests.handed_on_prefixes)
    if pipeline.goals.calibrate == "canary":
        prefixes.append(f"{_strip_scheme(read_by_transform['S3Uri']).removesuffix('features/')}canary/")
    if not requests.processing:
        prefixes.append(_strip_scheme(_layout_patterns(pipeline).pieces))
    exact += [_strip_scheme(_escape_full_uri(uri)) for uri in requests.find_values("ModelDataUrl")]
    outputs = [output for job in requests.processing for output in job["ProcessingOutputConfig"]["Outputs"]]
    targets = [_strip_scheme(each["S3Output"]["S3Uri"]) for each in outputs]
    targets.append(_strip_scheme(requests.transform["TransformOutput"]["S3OutputPath"]))
    yield from _list_statements(account, prefixes)
    read = [*(f"{prefix}*" for prefix in prefixes), *exact]
    yield _allow("Read", _s3_actions("GetObject"), [account.build_s3_arn(path) for path in read])
    write = [account.build_s3_arn(f"{target}*") for target in targets]
    yield _allow("Write", _s3_actions("PutObject", "AbortMultipartUpload"), write)
    yield _allow("SignInToRegistry", ["ecr:GetAuthorizationToken"], ["*"])
    pull = ("BatchCheckLayerAvailability", "GetDownloadUrlForLayer", "BatchGetImage")
    repositories = dict.fromkeys(
        f"arn:{account.partition}:ecr:{image['region']}:{image['account']}:repository/{image['repository']}"
        for image in images
    )
    yield _allow("Images", [f"ecr:{action}" for action in pull], list(repositories))
    groups = [account.build_arn("logs", f"log-group:{group}") for group in LOG_GROUPS]
    both = [f"{group}{tail}" for group in groups for tail in ("", ":*")]
    yield _allow("LogGroups", ["logs:CreateLogGroup", "logs:DescribeLogStreams"], both)
    yield _allow("Logs", ["logs:CreateLogStream", "logs:PutLogEvents"], _log_stream_arns(groups, requests))
    ours = {"StringEquals": {"cloudwatch:namespace": list(LOG_GROUPS)}}
    yield _allow("Metrics", ["cloudwatch:PutMetricData"], ["*"], ours)
    yield from _kms_statements(account, requests, "VolumeKmsKeyId")
    yield from _kms_statements(account, requests, "KmsKeyId")
    yield from _network_statements(account, requests)


def _model_package_arn(pipeline: Pipeline, account: Account) -> str:
    """ARN pattern of the model package, or of the group's versions; empty where the model has neither."""
    section = pipeline.model
    if section.group is None:
        return section.package or ""
    if section.group.startswith("arn:"):
        return f"{section.group.replace(':model-package-group/', ':model-package/')}/*"
    return account.build_arn("sagemaker", f"model-package/{section.group.lower()}/*")


def _build_requests(pipeline: Pipeline, package: str = "") -> RequestPatterns:
    """The requests of a run, with patterns for what differs from run to run; numbers are arbitrary."""
    paths = RunPaths(_run_prefix_pattern(pipeline))
    plan_values = {"run_prefix": paths.run_prefix, "model.package": package}
    requests = build_requests(pipeline, lambda path: plan_values.get(path, "1"))
    names = {
        step: build_job_name_wildcard(pipeline.name, step)
        for step in ("preprocess", "transform", "model", "join")
    }
    tokens = {
        MODEL_NAME: names["model"],
        SOURCE_URI: paths.build_job_paths(f"{names['preprocess']}-*").features
        if pipeline.preprocess is not None
        else _layout_patterns(pipeline).build_job_manifest_uri("*"),
        JOIN_INPUTS: paths.build_join_inputs_prefix(f"{names['transform']}-*"),
    }
    patterns = {
        step: replace_tokens(request, {**tokens, BASE_NAME: names[step], JOB_NAME_TOKEN: f"{names[step]}-*"})
        for step, request in requests.items()
    }
    return RequestPatterns(
        processing=tuple(patterns[step] for step in ("preprocess", "join") if step in patterns),
        transform=patterns["transform"],
        model=patterns.get("model"),
        handed_on_prefixes=_list_handed_on_prefixes(pipeline, paths, names, joins="join" in patterns),
    )


def _list_handed_on_prefixes(
    pipeline: Pipeline, paths: RunPaths, names: Mapping[str, str], *, joins: bool
) -> tuple[str, ...]:
    """Prefixes that a further transform reads after a failed one, and that the join job reads."""
    transform = paths.build_job_paths(f"{names['transform']}-*")
    found = [f"{transform.predictions.rstrip('/')}-manifest.json"]
    if pipeline.preprocess is not None and pipeline.transform.on_bad_records == "reject":
        found.append(transform.pieces)
    if joins:
        found += [paths.build_job_paths(f"{names['preprocess']}-*").records, transform.predictions]
        found += [transform.merged_shards] if transform.pieces in found else []
    return tuple(found)


def _run_prefix_pattern(pipeline: Pipeline) -> str:
    """The prefix of any run of the pipeline, as a pattern."""
    return f"s3://{_escape_uri(build_runs_prefix(work=pipeline.work, pipeline=pipeline.name))}*/"


def _layout_patterns(pipeline: Pipeline) -> InputLayoutPaths:
    """The layout paths of any run without preprocessing, as patterns."""
    return RunPaths(_run_prefix_pattern(pipeline)).build_layout_paths("*")


def _list_statements(account: Account, patterns: Iterable[str]) -> Iterator[Statement]:
    """Listings of each bucket, of these prefixes only."""
    buckets: dict[str, list[str]] = {}
    for pattern in patterns:
        bucket, _, key = pattern.partition("/")
        buckets.setdefault(bucket, []).append(key)
    for number, (bucket, keys) in enumerate(buckets.items(), start=1):
        prefixes = {"StringLike": {"s3:prefix": list(dict.fromkeys(keys))}}
        yield _allow(f"List{number}", ["s3:ListBucket"], [account.build_s3_arn(bucket)], prefixes)


def _log_stream_arns(groups: list[str], requests: RequestPatterns) -> list[str]:
    """The streams of this pipeline's jobs: `<job name>/<host>`."""
    by_kind = dict(zip(("Processing", "Transform"), groups, strict=True))
    return [
        f"{by_kind[kind]}:log-stream:{name}-*"
        for kind, names in requests.name_patterns.items()
        for name in names
    ]


def _job_arns(account: Account, requests: RequestPatterns, kind: str) -> list[str]:
    """All attempts at this pipeline's jobs of a kind, Processing or Transform."""
    return [
        account.build_arn("sagemaker", f"{kind.lower()}-job/{name}-{attempt}")
        for name in requests.name_patterns[kind]
        for attempt in ("?", "??")
    ]


def _list_jobs_statement() -> Statement:
    """List actions, which IAM can only allow for all names."""
    lists = [f"sagemaker:List{kind}" for kind in ("Models", "ProcessingJobs", "TransformJobs")]
    return _allow("FindWhatIsLeft", lists, ["*"])


def _only_this_model(account: Account, requests: RequestPatterns) -> Mapping[str, Any]:
    name = requests.transform["ModelName"]
    return {"ArnLike": {"sagemaker:ModelArn": account.build_arn("sagemaker", f"model/{name}".lower())}}


def _kms_statements(account: Account, requests: RequestPatterns, field: str) -> Iterator[Statement]:
    """Use of the keys in this field: of volumes by a grant to the instances, of objects through S3."""
    volumes = field.startswith("Volume")
    actions = ["kms:CreateGrant"] if volumes else ["kms:Decrypt", "kms:GenerateDataKey"]
    limit: dict[str, dict[str, Any]] = (
        {"Bool": {"kms:GrantIsForAWSResource": "true"}}
        if volumes
        else {"StringEquals": {"kms:ViaService": f"s3.{account.region}.{_domain(account)}"}}
    )
    for number, key in enumerate(requests.find_values(field), start=1):
        more: dict[str, dict[str, Any]] = {}
        arn = key if key.startswith("arn:") else account.build_arn("kms", f"key/{key}")
        if "alias/" in key:
            # A policy names keys, not aliases; KMS resolves the alias at the time of the call.
            more = {
                "ForAnyValue:StringEquals": {"kms:ResourceAliases": f"alias/{key.rpartition('alias/')[2]}"}
            }
            arn = (
                f"{key.rpartition('alias/')[0]}key/*"
                if key.startswith("arn:")
                else account.build_arn("kms", "key/*")
            )
        yield _allow(f"{'VolumeKey' if volumes else 'ObjectKey'}{number}", actions, [arn], {**limit, **more})


def _network_statements(account: Account, requests: RequestPatterns) -> Iterator[Statement]:
    """The network interfaces of jobs in a VPC."""
    subnets = [
        each
        for value in requests.all_requests
        for found in _find_values(value, ("Subnets",))
        for each in found
    ]
    groups = [
        each
        for value in requests.all_requests
        for found in _find_values(value, ("SecurityGroupIds",))
        for each in found
    ]
    if not subnets:
        return
    interface = account.build_arn("ec2", "network-interface/*")
    places = [
        *(account.build_arn("ec2", f"subnet/{each}") for each in dict.fromkeys(subnets)),
        *(account.build_arn("ec2", f"security-group/{each}") for each in dict.fromkeys(groups)),
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


def _build_document(statements: Iterable[Statement]) -> dict[str, Any]:
    # IAM rejects statements without a resource, so they are dropped.
    return {
        "Version": POLICY_VERSION,
        "Statement": [each for each in statements if each.get("Resource", True)],
    }


def _s3_actions(*actions: str) -> list[str]:
    return [f"s3:{action}" for action in actions]


def _find_values(value: Any, keys: tuple[str, ...]) -> Iterator[Any]:
    if isinstance(value, dict):
        for key, each in value.items():
            if key in keys:
                yield each
            else:
                yield from _find_values(each, keys)
    elif isinstance(value, list):
        for each in value:
            yield from _find_values(each, keys)


def _uri_pattern(uri: str) -> str:
    """`bucket/key` of a URI as an IAM pattern, with a pattern for each placeholder."""
    check_placeholders(uri)
    parts = re.split(r"\{(\w+)\}", uri)
    literal = [_escape(part) for part in parts[::2]]
    filled = [_PLACEHOLDER_PATTERNS[name] for name in parts[1::2]]
    return _strip_scheme("".join(part for pair in zip(literal, [*filled, ""], strict=True) for part in pair))


def _escape_uri(uri: str) -> str:
    """`bucket/key` of a URI as an IAM pattern that matches nothing else."""
    return _strip_scheme(_escape_full_uri(uri))


def _escape_full_uri(uri: str) -> str:
    split_s3_uri(uri)
    return _escape(uri)


def _escape(text: str) -> str:
    """Escape the characters that IAM reads as patterns or variables."""
    return re.sub(r"[*?$]", lambda match: f"${{{match[0]}}}", text)


def _strip_scheme(uri: str) -> str:
    return uri.removeprefix("s3://")


def _parse_image(uri: str) -> re.Match[str]:
    found = _IMAGE.match(uri)
    if found is None:
        raise PolicyError(
            f"found the image {uri!r}; SageMaker takes images from ECR, such as "
            f"123456789012.dkr.ecr.us-east-1.amazonaws.com/name:tag"
        )
    return found


def _find_region(images: Iterable[re.Match[str]]) -> str:
    """The region of the jobs: that of their images, since SageMaker takes images from its own region only."""
    regions = sorted({image["region"] for image in images})
    if len(regions) != 1:
        raise PolicyError(
            f"found images in the regions {', '.join(regions) or 'none'}; all have to be in the region of the jobs. "
            f"Set region in the pipeline file, or name it here"
        )
    return regions[0]


def _domain(account: Account) -> str:
    return "amazonaws.com.cn" if account.partition == "aws-cn" else "amazonaws.com"
