"""Builds the names of jobs and models and the S3 URIs of a run's files.

A job name can never be reused in an AWS account, but a run id can, so each plan generates a nonce once
(`generate_nonce`) and derives all names from it. A job keeps its name over Airflow's automatic retries, which then
find the job again; it gets another one after a person clears the task, because a clear raises `ti.max_tries`.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass

from batch_inference.common.object_names import MAX_KEY_BYTES
from batch_inference.common.s3_uri import split_s3_uri

#: The list of what a run published, beside its files, and the version of its form. A reader of `files` can ignore all
#: other members.
MANIFEST_NAME = "_manifest.json"
MANIFEST_VERSION = 1

# 63 is AWS's limit for the names of jobs and models; "-99" is left for the attempt, appended on submission.
MAX_NAME_LENGTH = 63
MAX_BASE_NAME_LENGTH = 60

_TOKEN_LENGTH = 12
_TASK_HASH_LENGTH = 8
_STEP_LENGTH = 16
# AWS allows two hyphens in a row, and no pipeline's part has them: so no pipeline's names begin like another's.
_HEAD_END = "--"
_HEAD_LENGTH = MAX_BASE_NAME_LENGTH - len(_HEAD_END) - _STEP_LENGTH - _TOKEN_LENGTH - _TASK_HASH_LENGTH - 2
_HEAD_HASH_LENGTH = 8
_LAYOUT_NONCE_LENGTH = 6
_JOB_NAME = re.compile(
    rf"{_HEAD_END}(?:(?P<step>.+)-)?(?P<token>[0-9a-f]{{{_TOKEN_LENGTH}}})-[0-9a-f]{{{_TASK_HASH_LENGTH}}}(?:-\d+)?$"
)
_ENDS_WITH_HASH = re.compile(rf"(^|-)[0-9a-f]{{{_HEAD_HASH_LENGTH}}}$")


def generate_nonce() -> str:
    """16 random hexadecimal digits, new for each plan."""
    return secrets.token_hex(8)


def build_name_token(nonce: str) -> str:
    """The part that the names of all jobs and models of this run contain, and those of no other run."""
    return _digest(nonce, _TOKEN_LENGTH)


def build_job_base_name(
    *, pipeline: str, step: str, nonce: str, task_id: str, map_index: int = -1, max_tries: int = 0
) -> str:
    """The name of a job without its attempt: at most 60 characters of `[A-Za-z0-9-]`, matching AWS's pattern.

    Equal for equal arguments. It begins with `build_name_prefix`. The step is for people and is truncated; the two
    hashes make the name unique.
    """
    task = _digest(f"{task_id}\n{map_index}\n{max_tries}", _TASK_HASH_LENGTH)
    step_part = _to_name_part(step)[:_STEP_LENGTH].strip("-")
    return build_name_prefix(pipeline) + "-".join(filter(None, (step_part, build_name_token(nonce), task)))


def build_job_name_wildcard(pipeline: str, step: str) -> str:
    """The base names of a step's jobs in all runs, with `?` for each digit that differs from run to run."""
    base = build_job_base_name(pipeline=pipeline, step=step, nonce="", task_id=step)
    head = base[: -_TOKEN_LENGTH - _TASK_HASH_LENGTH - 1]
    return f"{head}{'?' * _TOKEN_LENGTH}-{'?' * _TASK_HASH_LENGTH}"


def parse_job_name(name: str) -> tuple[str, str] | None:
    """The step, such as `transform`, and the name token of a job's name; None for a name that was not built here."""
    found = _JOB_NAME.search(name)
    return None if found is None else (found["step"] or "", found["token"])


def build_name_prefix(pipeline: str) -> str:
    """The prefix of the names of all jobs and models of a pipeline, and of those of no other: `risk-churn-<hash>--`.

    Without a hash where AWS allows the pipeline's name as it is.
    """
    part, digits = _to_name_part(pipeline), _digest(pipeline, _HEAD_HASH_LENGTH)
    if part == pipeline and 0 < len(part) <= _HEAD_LENGTH and not _ENDS_WITH_HASH.search(part):
        return f"{part}{_HEAD_END}"
    head = part[: _HEAD_LENGTH - _HEAD_HASH_LENGTH - 1].strip("-")
    return f"{head}-{digits}{_HEAD_END}".lstrip("-")


def slugify_run_id(run_id: str) -> str:
    """A run id as one S3 path segment: safe characters only, at most 80, distinct for distinct run ids.

    `manual__2026-01-31T07:00:00+00:00` becomes `manual__2026-01-31T07-00-00-00-00-<8 hex digits>`; an id
    that is already safe and short is unchanged, so that people recognise it. No slug begins with `_`: those names are
    for the folders that all runs of a pipeline share.
    """
    safe = re.sub(r"[^A-Za-z0-9._=-]+", "-", run_id).strip("-")
    # A segment of dots alone would climb out of the prefix in tools that treat keys as paths.
    if safe == run_id and 0 < len(safe) <= 80 and safe.strip(".") and not safe.startswith("_"):
        return safe
    return f"{safe[:71].lstrip('_').strip('-.') or 'run'}-{_digest(run_id, 8)}"


def build_runs_prefix(*, work: str, pipeline: str) -> str:
    """`<work>/<pipeline>/`, with a folder for each team: one for each run, and folders `_…/` that all runs share."""
    return f"{work.rstrip('/')}/{pipeline.replace('.', '/')}/"


def build_history_prefix(*, work: str, pipeline: str) -> str:
    """Prefix of the rate history: what the runs of a pipeline measured."""
    return f"{build_runs_prefix(work=work, pipeline=pipeline)}_history/"


def build_published_runs_prefix(*, work: str, pipeline: str) -> str:
    """Prefix of the records of published runs, which are kept longer than the files of the runs."""
    return f"{build_runs_prefix(work=work, pipeline=pipeline)}_published/"


def build_publish_journal_prefix(*, work: str, pipeline: str) -> str:
    """Prefix of the publish journal: what each attempt of `publish` copies, kept while it may have to be deleted."""
    return f"{build_runs_prefix(work=work, pipeline=pipeline)}_publishing/"


def build_costs_prefix(*, work: str, pipeline: str) -> str:
    """Prefix of the monthly sums of what the runs of a pipeline cost."""
    return CostPaths(build_runs_prefix(work=work, pipeline=pipeline)).months


def build_prices_uri(*, work: str, pipeline: str, region: str) -> str:
    """The prices of a region, as AWS's price list had them when a plan read it."""
    return f"{build_runs_prefix(work=work, pipeline=pipeline)}_prices/{region}.json"


def build_late_prefix(*, work: str, pipeline: str) -> str:
    """Prefix of what names the late runs of which somebody may still have to be notified, also after their end."""
    return f"{build_runs_prefix(work=work, pipeline=pipeline)}_late/"


class _Below:
    """A URI below the root of the paths that have it."""

    def __init__(self, suffix: str) -> None:
        self._suffix = suffix

    def __get__(self, paths: JobPaths | InputLayoutPaths | RunPaths | CostPaths, _: type) -> str:
        return f"{paths.root}{self._suffix}"


@dataclass(frozen=True, slots=True)
class JobPaths:
    """S3 URIs of what one job writes. Prefixes end in `/`."""

    root: str

    #: Original text of the records that passed.
    records = _Below("records/")
    #: The model's input, line for line with `records`.
    features = _Below("features/")
    #: Features of the one shard that is transformed first and alone.
    canary = _Below("canary/")
    #: Features of the shards of each trial, `<number>/`.
    trials = _Below("trials/")
    #: Rejects: records that did not pass, each with its reason.
    rejects = _Below("rejects/")
    #: rejects.json: rejects by rule and column, with examples.
    reject_summary = _Below("rejects.json")
    #: One JSON document per host: what it read and wrote.
    manifests = _Below("manifest/")
    #: shards.json, the merged manifests of the hosts: counts, and the shards in order of name.
    shards = _Below("shards.json")
    #: One JSON document per host: a profile of its records by column.
    profiles = _Below("profile/")
    #: profile.json: the merged profiles of the hosts, and records and rejects by group.
    merged_profile = _Below("profile.json")
    #: The predictions, `<shard>.csv.out`.
    predictions = _Below("predictions/")
    #: Features of split shards, with which this job finds records that the model refuses.
    pieces = _Below("pieces/")
    #: Shards merged from their pieces without the refused records: `records/` and `predictions/`.
    merged_shards = _Below("mended/")


@dataclass(frozen=True, slots=True)
class InputLayoutPaths:
    """S3 URIs of the input layout of a run without preprocess, below `root`, which ends in `/`."""

    root: str

    #: Prefix of the pieces: input objects that were split or concatenated.
    pieces = _Below("pieces/")
    #: assignment.json: for each object or piece the number of the transform job that reads it.
    assignment = _Below("assignment.json")

    def build_job_manifest_uri(self, job_number: int | str) -> str:
        """SageMaker ManifestFile of the objects that one of the transform jobs reads."""
        return f"{self.root}jobs/{job_number}.manifest"

    def build_join_group_uri(self, group_number: int | str) -> str:
        """The objects or pieces that one join task joins with their predictions."""
        return f"{self.root}groups/{group_number}.json"


@dataclass(frozen=True, slots=True)
class CostPaths:
    """S3 URIs of what the runs of a pipeline cost, below `root`, the prefix that `build_runs_prefix` gives.

    They outlive the files of the runs. A month is written as `2026-11`.
    """

    root: str

    #: One JSON document per month: sums by day.
    months = _Below("_costs/")
    #: One JSON document per run and month, of which the month can be built again.
    records = _Below("_history/runs/")

    def build_month_uri(self, month: str) -> str:
        """The sums of a month."""
        return f"{self.months}{month}.json"

    def build_records_prefix(self, month: str) -> str:
        """Prefix of the records of the runs that had jobs in a month."""
        return f"{self.records}{month}/"

    def build_record_uri(self, month: str, token: str) -> str:
        """The record of the run whose jobs have this name token."""
        return f"{self.build_records_prefix(month)}{token}.json"


@dataclass(frozen=True, slots=True)
class RunPaths:
    """S3 URIs of a run's files. `root` ends in `/`, or is a template that renders to such a URI."""

    root: str

    @classmethod
    def from_run_id(cls, *, work: str, pipeline: str, run_id: str) -> RunPaths:
        """`<work>/<pipeline>/<run slug>/`."""
        return cls(f"{build_runs_prefix(work=work, pipeline=pipeline)}{slugify_run_id(run_id)}/")

    #: plan.json.
    plan = _Below("plan.json")
    #: Prefix of the Python code that the processing job imports.
    code = _Below("code/")
    #: Prefix that holds `preprocess.json`.
    config = _Below("config/")
    #: The configuration that the processing job reads.
    preprocess_config = _Below("config/preprocess.json")
    #: SageMaker ManifestFile of the input objects of this run.
    input_manifest = _Below("input.manifest")

    def build_layout_paths(self, nonce: str) -> InputLayoutPaths:
        """URIs of the input layout of one plan; a new plan of the run has another nonce."""
        return InputLayoutPaths(f"{self.root}layout/{nonce[:_LAYOUT_NONCE_LENGTH]}/")

    #: A line for each input object: size, ETag, key. Its SHA-256 is the input's digest in plan and manifest.
    input_listing = _Below("input.listing")
    #: scored.json: the jobs and the joined parts of this run, all that `publish` needs.
    scored_run = _Below("scored.json")
    #: statistics.json: profiles of the predictions, with which other runs are compared.
    statistics = _Below("statistics.json")
    #: checks.json: the results of the gates, and whether the run is held.
    checks = _Below("checks.json")
    #: late.json: that the run is late, and who is still to be notified of it.
    late = _Below("late.json")
    #: report.json: the figures of the run.
    report_json = _Below("report.json")
    #: report.html: the figures of the run as a page.
    report_html = _Below("report.html")

    def build_committed_manifest_uri(self, attempt: str) -> str:
        """The manifest that one attempt of `publish` committed, or found committed by an earlier attempt."""
        return f"{self.root}committed/{attempt}.json"

    def build_join_inputs_prefix(self, attempt: str) -> str:
        """Prefix of the inputs of the processing job of one attempt of the join."""
        return f"{self.root}join-inputs/{attempt}/"

    def build_joined_prefix(self, attempt: str) -> str:
        """Prefix of the joined part files of one attempt of the join."""
        return f"{self.root}joined/{attempt}/"

    def build_job_paths(self, job_name: str) -> JobPaths:
        """URIs of what the job of this name writes."""
        return JobPaths(f"{self.root}{job_name}/")

    def compute_max_object_name_bytes(self) -> int:
        """Maximum bytes of an input object's name, so that the key of its predictions, `<name>.out`, fits in S3."""
        _, folder = split_s3_uri(self.build_job_paths("x" * MAX_NAME_LENGTH).predictions)
        return MAX_KEY_BYTES - len(folder.encode()) - len(".out")


def _to_name_part(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")


def _digest(text: str, length: int) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:length]
