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
    RunPaths,
    build_costs_prefix,
    build_history_prefix,
    build_job_name_wildcard,
    build_publish_journal_prefix,
    build_published_runs_prefix,
    build_runs_prefix,
)
from batch_inference.common.s3_uri import ensure_trailing_slash, split_s3_uri
from batch_inference.config.images import is_image_uri
from batch_inference.config.pipeline import Pipeline
from batch_inference.config.placeholders import check_placeholders
from batch_inference.config.sections.gates import find_pinned_statistics
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
#: By kind of job.
LOG_GROUPS = {kind: f"/aws/sagemaker/{kind}Jobs" for kind in ("Processing", "Transform")}
#: IAM patterns for the placeholders of a URI.
_PLACEHOLDER_PATTERNS = {"date": "????-??-??", "hour": "??", "run_id": "*"}
#: Names that `publish` writes directly below the output.
_PUBLISHED_NAMES = (MANIFEST_NAME, "_SUCCESS", "part-*")
_READ_AND_WRITE = ("GetObject", "PutObject", "AbortMultipartUpload")
#: Where shards lie that are transformed apart from the others, by `calibrate`.
_FOLDERS_SET_ASIDE = {"canary": "canary/", "explore": "trials/"}
_TAG_ACTIONS = ("AddTags", "ListTags")
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

    def build_s3_arns(self, paths: Iterable[str]) -> list[str]:
        """ARNs of buckets, or of objects in them."""
        return [f"arn:{self.partition}:s3:::{path}" for path in paths]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPatterns:
    """The requests of any run of a pipeline, with IAM patterns for names and URIs.

    `handed_on_prefixes` are prefixes of the run's files whose objects a manifest names for a job.
    """

    processing: tuple[dict[str, Any], ...]
    transform: dict[str, Any]
    model: dict[str, Any] | None
    handed_on_prefixes: tuple[str, ...]

    @property
    def name_patterns(self) -> dict[str, list[str]]:
        """Patterns of the jobs' base names by kind of job: Processing, Transform."""
        jobs = {"Processing": self.processing, "Transform": (self.transform,)}
        return {kind: [job[f"{kind}JobName"] for job in each] for kind, each in jobs.items() if each}

    def find_values(self, *keys: str) -> list[Any]:
        """Every distinct value of these keys, or item of a list, at any depth of any request, in order."""
        return list(dict.fromkeys(_find_values([*self.processing, self.transform, self.model], keys)))


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
    region = region or pipeline.region or _find_region([*pipeline.images.values(), *images])
    requests = _build_requests(pipeline, region)
    found = [_parse_image(uri) for uri in (*requests.find_values("ImageUri", "Image"), *images)]
    _, partition, _, _, account_id, _ = pipeline.role.split(":", 5)
    account = Account(partition=partition, account=account_id, region=region)
    if (pipeline.model.package or pipeline.model.group) and not (images and model_data):
        raise PolicyError(
            "the pipeline's model is in the model registry, so its images and artefacts are not in the file: give "
            "--image URI and --model-data s3://bucket/prefix/ for those of its versions"
        )
    build = _PolicyBuilder(
        pipeline,
        account,
        requests,
        sources=[_uri_pattern(uri) for uri in (pipeline.input.uri, *inputs)],
        targets=[ensure_trailing_slash(_uri_pattern(uri)) for uri in (pipeline.output.uri, *outputs)],
    )
    return {
        "airflow": _build_document(build.build_airflow_statements(model_data)),
        "sagemaker": _build_document(build.build_sagemaker_statements(found, model_data)),
        "sagemaker_trust": _build_trust_policy(account),
        "janitor": _build_document(build.build_janitor_statements()),
    }


def build_role_request(pipeline: Pipeline, trust: Mapping[str, Any]) -> dict[str, Any]:
    """CreateRole of the execution role of SageMaker's jobs, for `aws iam create-role --cli-input-json`.

    `trust` is the document `sagemaker_trust` of `build_policies`.
    """
    path, _, name = pipeline.role.partition(":role/")[2].rpartition("/")
    boundary = pipeline.security.permissions_boundary
    tags = {"pipeline": pipeline.name, **pipeline.tags}
    return {
        "Path": f"/{path}/" if path else "/",
        "RoleName": name,
        "AssumeRolePolicyDocument": json.dumps(trust),
        "Description": f"What the SageMaker jobs of {pipeline.name} run as",
        **({} if boundary is None else {"PermissionsBoundary": boundary}),
        "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
    }


def _build_trust_policy(account: Account) -> dict[str, Any]:
    """SageMaker may assume the role only for jobs and models of this account and region (no confused deputy)."""
    ours = {
        "StringEquals": {"aws:SourceAccount": account.account},
        "ArnLike": {"aws:SourceArn": account.build_arn("sagemaker", "*")},
    }
    statement = {"Effect": "Allow", "Principal": {"Service": SAGEMAKER_SERVICE}, "Action": ["sts:AssumeRole"]}
    return _build_document([{**statement, "Condition": ours}])


@dataclass(frozen=True, slots=True)
class _PolicyBuilder:
    """Builds the statements of one pipeline's policies.

    `sources` and `targets` are the patterns `bucket/key` of its inputs and outputs, and of those of manual runs.
    """

    pipeline: Pipeline
    account: Account
    requests: RequestPatterns
    sources: list[str]
    targets: list[str]

    @property
    def runs(self) -> str:
        """Prefix of all files of the pipeline's runs."""
        return _escape_uri(build_runs_prefix(work=self.pipeline.work, pipeline=self.pipeline.name))

    @property
    def journal(self) -> str:
        """Pattern of the publish journal."""
        prefix = build_publish_journal_prefix(work=self.pipeline.work, pipeline=self.pipeline.name)
        return f"{_escape_uri(prefix)}*"

    @property
    def model_arn(self) -> str:
        """The existing model, or any that is created for a run."""
        return self.account.build_arn("sagemaker", f"model/{self.requests.transform['ModelName']}".lower())

    @property
    def log_group_arns(self) -> list[str]:
        """The log groups themselves, and as the resource of their streams."""
        groups = [self.account.build_arn("logs", f"log-group:{group}") for group in LOG_GROUPS.values()]
        return [f"{group}{tail}" for group in groups for tail in ("", ":*")]

    @property
    def log_stream_arns(self) -> list[str]:
        """The streams of this pipeline's jobs: `<job name>/<host>`."""
        return [
            self.account.build_arn("logs", f"log-group:{LOG_GROUPS[kind]}:log-stream:{name}-*")
            for kind, names in self.requests.name_patterns.items()
            for name in names
        ]

    def build_airflow_statements(self, model_data: Iterable[str]) -> Iterator[Statement]:
        """Airflow's role; `model_data` are prefixes of a model package's archives.

        `LookAtInput`, `LookAtModel` and `LookAtRole` are for the checks of `plan`, which says what it may not look at.
        """
        pipeline, requests = self.pipeline, self.requests
        published = [f"{target}{name}" for target in self.targets for name in _PUBLISHED_NAMES]
        parts = [f"{target}part-*" for target in self.targets]
        wheels = pipeline.preprocess.wheels if pipeline.preprocess else None
        looked_for = [] if wheels is None else [_escape_uri(wheels)]
        targets = (f"{target}*" for target in self.targets)
        yield from self._list([*self.sources, f"{self.runs}*", *targets, *looked_for])
        yield self._allow_s3("RunAndOutput", _READ_AND_WRITE, [f"{self.runs}*", *published])
        if pipeline.preprocess is None:
            # The plan probes the input, `cut_input` copies its byte ranges, and `join` reads its records.
            yield self._allow_s3("ReadInput", ["GetObject"], [f"{source}*" for source in self.sources])
        else:
            # If the input is the output of another pipeline, its manifest names the objects.
            manifests = [f"{source}*{MANIFEST_NAME}" for source in self.sources]
            yield self._allow_s3("FollowManifests", ["GetObject"], manifests)
            yield self._allow_s3("LookAtInput", ["GetObject"], [f"{source}*" for source in self.sources])
        if pipeline.preprocess is not None and pipeline.goals.calibrate in _FOLDERS_SET_ASIDE:
            # The shards of a canary, and of trials, are moved out of the others' prefix.
            yield self._allow_s3("SetAside", ["DeleteObject"], [f"{self.runs}*/features/*"])
            yield self._keep_what_outlives_runs()
        yield self._allow_s3("ReplaceOutput", ["DeleteObject"], [*parts, self.journal])
        for kind in requests.name_patterns:
            jobs = self._job_arns(kind)
            only_this_model = (
                {"ArnLike": {"sagemaker:ModelArn": self.model_arn}} if kind == "Transform" else {}
            )
            yield _allow(f"Submit{kind}", "sagemaker", [f"Create{kind}Job"], jobs, only_this_model)
            follow = [f"Describe{kind}Job", f"Stop{kind}Job", *_TAG_ACTIONS]
            yield _allow(f"Follow{kind}", "sagemaker", follow, jobs)
        made = [] if requests.model is None else ["CreateModel"]
        cleaned_up = [] if requests.model is None else ["DeleteModel", *_TAG_ACTIONS]
        yield _allow("Model", "sagemaker", [*made, "DescribeModel", *cleaned_up], [self.model_arn])
        if pipeline.model.package or pipeline.model.group:
            listing = ["ListModelPackages"] if pipeline.model.group else []
            yield _allow("Registry", "sagemaker", [*listing, "DescribeModelPackage"], [self._package_arn()])
        yield _FIND_WHAT_IS_LEFT
        yield _allow("Quotas", "servicequotas", ["ListServiceQuotas"], ["*"])
        # The price list is public and has no resources.
        yield _allow("Prices", "pricing", ["GetProducts"], ["*"])
        archives = [*map(_escape_uri, requests.find_values("ModelDataUrl"))]
        archives += [f"{_escape_uri(prefix)}*" for prefix in model_data]
        if archives:
            # Also for a manual run that skips if nothing has changed.
            yield self._allow_s3("LookAtModel", ["GetObject"], archives)
        if pinned := find_pinned_statistics(pipeline.gates):
            yield self._allow_s3("Compare", ["GetObject"], map(_escape_uri, pinned))
        if (table := pipeline.output.glue_table) is not None:
            # Glue checks the catalog, the database and the table.
            names = ("catalog", f"database/{table.database}", f"table/{table.database}/{table.table}")
            actions = ["CreateTable", "CreatePartition", "UpdatePartition"]
            yield _allow("Catalog", "glue", actions, [self.account.build_arn("glue", name) for name in names])
        roles = requests.find_values("RoleArn", "ExecutionRoleArn")
        to_sagemaker = {"StringEquals": {"iam:PassedToService": SAGEMAKER_SERVICE}}
        yield _allow("PassRole", "iam", ["PassRole"], roles, to_sagemaker)
        yield _allow("LookAtRole", "iam", ["GetRole"], roles)
        yield _allow("FindLogs", "logs", ["DescribeLogStreams"], self.log_group_arns)
        yield _allow("ReadLogs", "logs", ["GetLogEvents"], self.log_stream_arns)
        # CloudWatch has no resources for metrics.
        yield _allow("ReadMetrics", "cloudwatch", ["GetMetricData"], ["*"])
        yield from self._kms_statements()

    def build_janitor_statements(self) -> Iterator[Statement]:
        """Stop any job of this pipeline; delete models created for its runs, the files of its runs, and part files that
        were replaced or that no run will publish."""
        manifests = [f"{target}{MANIFEST_NAME}" for target in self.targets]
        parts = [f"{target}part-*" for target in self.targets]
        yield from self._list([f"{self.runs}*", *(f"{target}*" for target in self.targets)])
        yield self._allow_s3(
            "ReadPlans", ["GetObject"], [f"{self.runs}*/plan.json", self.journal, *manifests]
        )
        if self.pipeline.notify.on_late:
            late = [f"{self.runs}*/late.json", f"{self.runs}_late/*"]
            yield self._allow_s3("NotifyOfLateRuns", ["GetObject", "PutObject"], late)
        yield self._allow_s3("GiveUpTries", ["PutObject"], [self.journal])
        yield self._allow_s3("DeleteParts", ["DeleteObject"], [self.journal, *parts])
        yield self._allow_s3("DeleteRuns", ["DeleteObject"], [f"{self.runs}*/*"])
        yield self._keep_what_outlives_runs()
        for kind in self.requests.name_patterns:
            actions = [f"Describe{kind}Job", f"Stop{kind}Job", *_TAG_ACTIONS]
            yield _allow(f"Stop{kind}", "sagemaker", actions, self._job_arns(kind))
        if self.requests.model is not None:
            yield _allow("DeleteModels", "sagemaker", ["DeleteModel", "ListTags"], [self.model_arn])
        yield _FIND_WHAT_IS_LEFT

    def build_sagemaker_statements(
        self, images: Iterable[re.Match[str]], model_data: Iterable[str]
    ) -> Iterator[Statement]:
        """The execution role of the jobs."""
        requests = self.requests
        prefixes, exact = [*self.sources, *map(_escape_uri, model_data)], list[str]()
        read_by_transform = requests.transform["TransformInput"]["DataSource"]["S3DataSource"]
        read_by_processing = [
            item["S3Input"] for job in requests.processing for item in job["ProcessingInputs"]
        ]
        for each in [*read_by_processing, read_by_transform]:
            found = exact if each["S3DataType"] == "ManifestFile" else prefixes
            found.append(_strip_scheme(each["S3Uri"]))
        prefixes += map(_strip_scheme, requests.handed_on_prefixes)
        folder = _FOLDERS_SET_ASIDE.get(self.pipeline.goals.calibrate)
        if folder is not None and self.pipeline.preprocess is not None:
            prefixes.append(f"{_strip_scheme(read_by_transform['S3Uri']).removesuffix('features/')}{folder}")
        exact += map(_escape_uri, requests.find_values("ModelDataUrl"))
        jobs = (job["ProcessingOutputConfig"]["Outputs"] for job in requests.processing)
        outputs = [output["S3Output"]["S3Uri"] for each in jobs for output in each]
        targets = [
            _strip_scheme(uri) for uri in (*outputs, requests.transform["TransformOutput"]["S3OutputPath"])
        ]
        yield from self._list(prefixes)
        yield self._allow_s3("Read", ["GetObject"], [*(f"{prefix}*" for prefix in prefixes), *exact])
        yield self._allow_s3("Write", _READ_AND_WRITE[1:], [f"{target}*" for target in targets])
        yield _allow("SignInToRegistry", "ecr", ["GetAuthorizationToken"], ["*"])
        pull = ["BatchCheckLayerAvailability", "GetDownloadUrlForLayer", "BatchGetImage"]
        repositories = dict.fromkeys(
            f"arn:{self.account.partition}:ecr:{image['region']}:{image['account']}:repository/{image['repository']}"
            for image in images
        )
        yield _allow("Images", "ecr", pull, list(repositories))
        yield _allow("LogGroups", "logs", ["CreateLogGroup", "DescribeLogStreams"], self.log_group_arns)
        yield _allow("Logs", "logs", ["CreateLogStream", "PutLogEvents"], self.log_stream_arns)
        ours = {"StringEquals": {"cloudwatch:namespace": list(LOG_GROUPS.values())}}
        yield _allow("Metrics", "cloudwatch", ["PutMetricData"], ["*"], ours)
        yield from self._kms_statements()
        yield from self._network_statements()

    def _allow_s3(self, sid: str, actions: Iterable[str], paths: Iterable[str]) -> Statement:
        return _allow(sid, "s3", actions, self.account.build_s3_arns(paths))

    def _list(self, patterns: Iterable[str]) -> Iterator[Statement]:
        """Listings of each bucket, of these prefixes only."""
        buckets: dict[str, list[str]] = {}
        for pattern in patterns:
            bucket, _, key = pattern.partition("/")
            buckets.setdefault(bucket, []).append(key)
        for number, (bucket, keys) in enumerate(buckets.items(), start=1):
            prefixes = {"StringLike": {"s3:prefix": list(dict.fromkeys(keys))}}
            yield _allow(
                f"List{number}", "s3", ["ListBucket"], self.account.build_s3_arns([bucket]), prefixes
            )

    def _keep_what_outlives_runs(self) -> Statement:
        """Deny deletion of the pipeline's history, its costs and its record of published runs.

        No pattern can exclude these from the folders of the runs, none of which begins with `_` (see `slugify_run_id`).
        """
        kept = [
            f"{_escape_uri(prefix(work=self.pipeline.work, pipeline=self.pipeline.name))}*"
            for prefix in (build_history_prefix, build_costs_prefix, build_published_runs_prefix)
        ]
        return {**self._allow_s3("KeepWhatOutlivesRuns", ["DeleteObject"], kept), "Effect": "Deny"}

    def _job_arns(self, kind: str) -> list[str]:
        """All attempts at this pipeline's jobs of a kind, Processing or Transform."""
        return [
            self.account.build_arn("sagemaker", f"{kind.lower()}-job/{name}-{attempt}")
            for name in self.requests.name_patterns[kind]
            for attempt in ("?", "??")
        ]

    def _package_arn(self) -> str:
        """ARN pattern of the model package, or of the group's versions."""
        group = self.pipeline.model.group
        if group is None:
            return self.pipeline.model.package or ""
        if group.startswith("arn:"):
            return f"{group.replace(':model-package-group/', ':model-package/')}/*"
        return self.account.build_arn("sagemaker", f"model-package/{group.lower()}/*")

    def _kms_statements(self) -> Iterator[Statement]:
        """Use of the keys: of volumes by a grant to the instances, of objects through S3."""
        domain = "amazonaws.com.cn" if self.account.partition == "aws-cn" else "amazonaws.com"
        through_s3 = {"StringEquals": {"kms:ViaService": f"s3.{self.account.region}.{domain}"}}
        by_grant = {"Bool": {"kms:GrantIsForAWSResource": "true"}}
        for field, sid, actions, limit in (
            ("VolumeKmsKeyId", "VolumeKey", ["CreateGrant"], by_grant),
            ("KmsKeyId", "ObjectKey", ["Decrypt", "GenerateDataKey"], through_s3),
        ):
            for number, key in enumerate(self.requests.find_values(field), start=1):
                place, is_alias, alias = key.rpartition("alias/")
                more = (
                    {"ForAnyValue:StringEquals": {"kms:ResourceAliases": f"alias/{alias}"}}
                    if is_alias
                    else {}
                )
                # A policy names keys, not aliases; KMS resolves the alias at the time of the call.
                name = f"{place}key/*" if is_alias else key if key.startswith("arn:") else f"key/{key}"
                arn = name if name.startswith("arn:") else self.account.build_arn("kms", name)
                yield _allow(f"{sid}{number}", "kms", actions, [arn], {**limit, **more})

    def _network_statements(self) -> Iterator[Statement]:
        """The network interfaces of jobs in a VPC."""
        places = [
            self.account.build_arn("ec2", f"{kind}/{each}")
            for kind, field in (("subnet", "Subnets"), ("security-group", "SecurityGroupIds"))
            for each in self.requests.find_values(field)
        ]
        if not places:
            return
        interface = self.account.build_arn("ec2", "network-interface/*")
        yield _allow("JoinNetwork", "ec2", ["CreateNetworkInterface"], [interface, *places])
        change = [
            "CreateNetworkInterfacePermission",
            "DeleteNetworkInterface",
            "DeleteNetworkInterfacePermission",
        ]
        yield _allow("Interfaces", "ec2", change, [interface])
        looks = ("NetworkInterfaces", "Vpcs", "DhcpOptions", "Subnets", "SecurityGroups")
        yield _allow("LookAtNetwork", "ec2", [f"Describe{each}" for each in looks], ["*"])


def _build_requests(pipeline: Pipeline, region: str) -> RequestPatterns:
    """The requests of a run, with patterns for what differs from run to run; numbers are arbitrary."""
    runs = _escape_uri(build_runs_prefix(work=pipeline.work, pipeline=pipeline.name))
    paths = RunPaths(f"s3://{runs}*/")
    requests = build_requests(
        pipeline, lambda path: paths.root if path == "run_prefix" else "1", region=region
    )
    names = {
        step: build_job_name_wildcard(pipeline.name, step)
        for step in ("preprocess", "transform", "model", "join")
    }
    preprocess, transform = (
        paths.build_job_paths(f"{names[step]}-*") for step in ("preprocess", "transform")
    )
    layout = paths.build_layout_paths("*")
    tokens = {
        MODEL_NAME: names["model"],
        SOURCE_URI: preprocess.features if pipeline.preprocess else layout.build_job_manifest_uri("*"),
        JOIN_INPUTS: paths.build_join_inputs_prefix(f"{names['transform']}-*"),
    }
    patterns = {
        step: replace_tokens(request, {**tokens, BASE_NAME: names[step], JOB_NAME_TOKEN: f"{names[step]}-*"})
        for step, request in requests.items()
    }
    # A further transform reads some files of a failed one, and the join job reads those of both stages.
    handed_on = [f"{transform.predictions.rstrip('/')}-manifest.json"]
    has_search = pipeline.preprocess is not None and pipeline.transform.on_bad_records == "reject"
    handed_on += [transform.pieces] if has_search else []
    if "join" in patterns:
        handed_on += [preprocess.records, transform.predictions]
        handed_on += [transform.merged_shards] if has_search else []
    if pipeline.preprocess is None:
        handed_on.append(layout.pieces)
    return RequestPatterns(
        processing=tuple(patterns[step] for step in ("preprocess", "join") if step in patterns),
        transform=patterns["transform"],
        model=patterns.get("model"),
        handed_on_prefixes=tuple(handed_on),
    )


def _allow(
    sid: str,
    service: str,
    actions: Iterable[str],
    resources: list[str],
    condition: Mapping[str, Any] | None = None,
) -> Statement:
    statement: Statement = {
        "Sid": sid,
        "Effect": "Allow",
        "Action": [f"{service}:{action}" for action in actions],
        "Resource": resources,
    }
    return {**statement, "Condition": dict(condition)} if condition else statement


#: List actions, which IAM can only allow for all names.
_FIND_WHAT_IS_LEFT = _allow(
    "FindWhatIsLeft", "sagemaker", ["ListModels", "ListProcessingJobs", "ListTransformJobs"], ["*"]
)


def _build_document(statements: Iterable[Statement]) -> dict[str, Any]:
    # IAM rejects statements without a resource, so they are dropped.
    return {
        "Version": POLICY_VERSION,
        "Statement": [each for each in statements if each.get("Resource", True)],
    }


def _find_values(value: Any, keys: tuple[str, ...]) -> Iterator[Any]:
    if isinstance(value, dict):
        for key, each in value.items():
            if key in keys:
                yield from each if isinstance(each, list) else [each]
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
    split_s3_uri(uri)
    return _strip_scheme(_escape(uri))


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


def _find_region(images: Iterable[str]) -> str:
    """The region of the jobs: that of their images' URIs, since SageMaker takes images from its own region only."""
    regions = sorted({_parse_image(image)["region"] for image in images if is_image_uri(image)})
    if len(regions) != 1:
        raise PolicyError(
            f"found images in the regions {', '.join(regions) or 'none'}; all have to be in the region of the jobs. "
            f"Set region in the pipeline file, or name it here"
        )
    return regions[0]
