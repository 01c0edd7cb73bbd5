"""Every name and every address that a run uses, in one place.

Job names live forever in an AWS account while run ids do not, so a run draws a nonce once (`new_nonce`) and
all of its names come from it. The name of a job is the same over Airflow's automatic retries, which then
find the job again, and another one after a person clears the task, because `ti.max_tries` rises with a clear.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass

from include.scoring.object_names import LONGEST_KEY
from include.scoring.s3uri import split

# 63 is AWS's limit for jobs and models; "-99" is left for the attempt that is appended when a job is
# submitted.
MAX_NAME = 63
MAX_BASE_NAME = 60
NAME_PATTERN = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")

_TOKEN_LENGTH = 12
_TASK_HASH_LENGTH = 8
_STEP_LENGTH = 16
_MARK_LENGTH = 6


def new_nonce() -> str:
    """16 hexadecimal digits, drawn anew for each run."""
    return secrets.token_hex(8)


def name_token(nonce: str) -> str:
    """The part that all job and model names of the run with this nonce hold, and no other run's do."""
    return _digest(nonce, _TOKEN_LENGTH)


def job_base_name(
    *, pipeline: str, step: str, nonce: str, task_id: str, map_index: int = -1, max_tries: int = 0
) -> str:
    """The name of a job without its attempt: at most 60 characters of `[A-Za-z0-9-]`, matching AWS's pattern.

    Equal for equal arguments. Pipeline and step are there for people and are cut where they are long; the two
    hashes make the name unique.
    """
    task = _digest(f"{task_id}\n{map_index}\n{max_tries}", _TASK_HASH_LENGTH)
    tail = "-".join(
        part for part in (_words(step)[:_STEP_LENGTH].strip("-"), name_token(nonce), task) if part
    )
    head = _words(pipeline)[: MAX_BASE_NAME - len(tail) - 1].strip("-")
    return f"{head}-{tail}" if head else tail


def name_head(pipeline: str) -> str:
    """With what the names of all jobs and models of a pipeline begin, however long its name is."""
    return _words(pipeline)[: MAX_BASE_NAME - _STEP_LENGTH - _TOKEN_LENGTH - _TASK_HASH_LENGTH - 3].strip("-")


def run_slug(run_id: str) -> str:
    """A run id as one S3 path segment: safe characters only, at most 80, distinct for distinct run ids.

    `manual__2026-01-31T07:00:00+00:00` becomes `manual__2026-01-31T07-00-00-00-00-<8 hex digits>`; an id
    that is already safe and short stays as it is, so that people recognise it. None begins with `_`, as what belongs
    to all runs of a pipeline does.
    """
    safe = re.sub(r"[^A-Za-z0-9._=-]+", "-", run_id).strip("-")
    # A segment of dots alone would climb out of the prefix in tools that treat keys as paths.
    if safe == run_id and 0 < len(safe) <= 80 and safe.strip(".") and not safe.startswith("_"):
        return safe
    return f"{safe[:71].lstrip('_').strip('-.') or 'run'}-{_digest(run_id, 8)}"


def runs_prefix(*, work: str, pipeline: str) -> str:
    """`<work>/<pipeline>/`, below which each run of a pipeline has a folder, and all together have those in `_…/`."""
    return f"{work.rstrip('/')}/{pipeline}/"


def history_prefix(*, work: str, pipeline: str) -> str:
    """Where a pipeline keeps what its runs measured: no run's own, for no run slug begins with `_`."""
    return f"{runs_prefix(work=work, pipeline=pipeline)}_history/"


def published_prefix(*, work: str, pipeline: str) -> str:
    """Where a pipeline remembers the runs that it has published, which outlives them."""
    return f"{runs_prefix(work=work, pipeline=pipeline)}_published/"


def publishing_prefix(*, work: str, pipeline: str) -> str:
    """Where each try of a pipeline's `publish` says what it copies, as long as something of it may have to go."""
    return f"{runs_prefix(work=work, pipeline=pipeline)}_publishing/"


@dataclass(frozen=True, slots=True)
class JobPaths:
    """What one job writes: full `s3://` URIs, each ending in `/`."""

    root: str

    @property
    def records(self) -> str:
        """Original text of the records that passed."""
        return f"{self.root}records/"

    @property
    def features(self) -> str:
        """What the model sees, line for line with `records`."""
        return f"{self.root}features/"

    @property
    def canary(self) -> str:
        """Features of the one shard that is transformed first and alone."""
        return f"{self.root}canary/"

    @property
    def rejects(self) -> str:
        """Records that did not pass, each with its reason."""
        return f"{self.root}rejects/"

    @property
    def manifest(self) -> str:
        """One JSON document per host: what it read and wrote."""
        return f"{self.root}manifest/"

    @property
    def shards(self) -> str:
        """What the hosts' manifests say together: counts, and the shards in order of name."""
        return f"{self.root}shards.json"

    @property
    def profile(self) -> str:
        """One JSON document per host: what its records look like, column by column."""
        return f"{self.root}profile/"

    @property
    def merged_profile(self) -> str:
        """profile.json: the hosts' profiles in one, and records and rejects by group."""
        return f"{self.root}profile.json"

    @property
    def predictions(self) -> str:
        """The model's answers, `<shard>.csv.out`."""
        return f"{self.root}predictions/"

    @property
    def pieces(self) -> str:
        """Features of shards that were cut for this job, to find records that the model refuses."""
        return f"{self.root}pieces/"

    @property
    def mended(self) -> str:
        """Shards put together again without the refused records: `records/` and `predictions/`."""
        return f"{self.root}mended/"


@dataclass(frozen=True, slots=True)
class LayoutPaths:
    """How the input of a run without preprocessing is laid out: full `s3://` URIs below `root`, which ends in `/`."""

    root: str

    @property
    def listing(self) -> str:
        """The input objects: a line of key, size and etag for each."""
        return f"{self.root}listing.jsonl"

    @property
    def pieces(self) -> str:
        """Prefix of what the input was cut and put together to."""
        return f"{self.root}pieces/"

    @property
    def assignment(self) -> str:
        """The number of the job that each object or piece was given to."""
        return f"{self.root}assignment.json"

    def manifest(self, number: int | str) -> str:
        """The objects that one of the transform jobs reads, as a SageMaker ManifestFile."""
        return f"{self.root}jobs/{number}.manifest"

    def group(self, number: int | str) -> str:
        """The objects or pieces that one join puts beside their answers."""
        return f"{self.root}groups/{number}.json"


@dataclass(frozen=True, slots=True)
class RunPaths:
    """Where a run works. `run_prefix` is an `s3://` URI ending in `/`, or a template that renders to one."""

    run_prefix: str

    @classmethod
    def of(cls, *, work: str, pipeline: str, run_id: str) -> RunPaths:
        """`<work>/<pipeline>/<run slug>/`."""
        return cls(f"{runs_prefix(work=work, pipeline=pipeline)}{run_slug(run_id)}/")

    @property
    def plan(self) -> str:
        """plan.json."""
        return f"{self.run_prefix}plan.json"

    @property
    def code(self) -> str:
        """Prefix of the Python code that the processing job imports."""
        return f"{self.run_prefix}code/"

    @property
    def config(self) -> str:
        """Prefix that holds `preprocess.json`."""
        return f"{self.run_prefix}config/"

    @property
    def preprocess_config(self) -> str:
        """The configuration that the processing job reads."""
        return f"{self.config}preprocess.json"

    @property
    def input_manifest(self) -> str:
        """The input objects of this run, as a SageMaker ManifestFile."""
        return f"{self.run_prefix}input.manifest"

    def layout(self, nonce: str) -> LayoutPaths:
        """How one plan lays the input out without preprocessing; a plan that is made anew has another nonce."""
        return LayoutPaths(f"{self.run_prefix}layout/{nonce[:_MARK_LENGTH]}/")

    @property
    def input_listing(self) -> str:
        """One line per input object: size, ETag, key. Its SHA-256 is the input's digest in plan and manifest."""
        return f"{self.run_prefix}input.listing"

    @property
    def scored(self) -> str:
        """scored.json: the jobs and the joined parts of this run, which is all that publishing needs."""
        return f"{self.run_prefix}scored.json"

    @property
    def statistics(self) -> str:
        """statistics.json: what the predictions look like, in a form that other runs can be compared with."""
        return f"{self.run_prefix}statistics.json"

    @property
    def checks(self) -> str:
        """checks.json: what the gates found, and whether the run is held."""
        return f"{self.run_prefix}checks.json"

    @property
    def report_json(self) -> str:
        """The figures of the run."""
        return f"{self.run_prefix}report.json"

    @property
    def report_html(self) -> str:
        """The figures of the run as a page."""
        return f"{self.run_prefix}report.html"

    def committed(self, attempt: str) -> str:
        """The manifest that one try of `publish` has committed, or found committed by an earlier one."""
        return f"{self.run_prefix}committed/{attempt}.json"

    def join_inputs(self, attempt: str) -> str:
        """Prefix of what one attempt of the join tells its processing job."""
        return f"{self.run_prefix}join-inputs/{attempt}/"

    def joined(self, attempt: str) -> str:
        """Prefix of the joined part files of one attempt of the join."""
        return f"{self.run_prefix}joined/{attempt}/"

    def job(self, job_name: str) -> JobPaths:
        """What the job of this name writes."""
        return JobPaths(f"{self.run_prefix}{job_name}/")

    def longest_output_name(self) -> int:
        """Most bytes of an input object's name that leave its answers, `<name>.out`, a key that S3 takes."""
        _, folder = split(self.job("x" * MAX_NAME).predictions)
        return LONGEST_KEY - len(folder.encode()) - len(".out")


def _words(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")


def _digest(text: str, length: int) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:length]
