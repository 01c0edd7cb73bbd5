"""Plans trials: further transform jobs, which try other settings on some records of a run, for cheaper runs later.

A trial changes one setting of the cheapest ones known: the instance type within those listed, the requests at a time,
or the MB of a request. The one with the most expected saving is tried, if its worst case fits into what trials may
still cost. SageMaker has no setting for the records of a request: they follow from MaxPayloadInMB and their size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from batch_inference.common.formatting import format_bytes, format_count, format_dollars
from batch_inference.config.sections.record_rules import FrozenModel
from batch_inference.config.sections.stages import MAX_PAYLOAD_MB_IN_FLIGHT, BatchStrategy
from batch_inference.planning.clusters.rate_history import HistoryRow
from batch_inference.planning.clusters.settings_cost import (
    RequestSettings,
    SettingsCost,
    get_request_settings,
    list_measurements,
)

# A trial works this long on its one instance, so that a start of some seconds more or less does not count.
TRIAL_WORK_SECONDS = 120.0
# Each slot for a request has several of them, or more slots would be no faster.
REQUESTS_PER_SLOT = 3
# A trial waits no longer for its instance: as long as the usual provisioning twice, and this at least.
MIN_PROVISIONING_LIMIT_SECONDS = 300
# A trial that takes this many times the expected time is stopped: it will not be the cheapest.
MAX_TRIAL_SLOWDOWN = 3.0
# The most of a run's records that one trial takes, and the most trials of a run.
MAX_TRIAL_SHARE = 0.05
MAX_TRIALS = 3
# Shards of which so few records are some.
SHARDS_FOR_TRIALS = 100
# A type that AWS did not give to this many trials in a row is tried no more, as long as the history knows of them.
MAX_REFUSALS = 2
# What a trial teaches is used in this many runs.
RUNS_AHEAD = 30
# A lower expected saving is not worth a trial.
MIN_SAVING = 0.01
# Settings replace those in use once they cost less with this probability.
ADOPTION_PROBABILITY = 0.95
# Payloads that are tried, in MB, besides the pipeline's own.
PAYLOAD_STEPS_MB = (1, 3, 6, 12, 25, 50, 100)
# Requests at a time that are tried, as multiples of the type's default.
CONCURRENCY_RATIOS = (0.25, 4.0)
MEBIBYTE = 1024 * 1024


class TrialPlan(FrozenModel):
    """The trial of a run: its settings, the bytes of text that it takes, and when it is stopped.

    `usual_dollars_per_byte` is what these bytes would cost among the others, without a start-up.
    """

    instance_type: str
    max_concurrent_transforms: int
    max_payload_mb: int
    batch_strategy: BatchStrategy
    bytes: int
    max_runtime_seconds: int
    max_provisioning_seconds: int
    usual_dollars_per_byte: float

    @property
    def settings(self) -> RequestSettings:
        """The settings that are tried."""
        return RequestSettings(
            self.instance_type, self.max_concurrent_transforms, self.max_payload_mb, self.batch_strategy
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeOption:
    """An instance type that trials may use: dollars per second, and what is assumed of it until it is measured.

    No speed is assumed of an accelerator.
    """

    dollars_per_second: float
    default_bytes_per_second: float | None
    default_concurrency: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSpace:
    """The settings that may be tried. What the pipeline or the trigger form states is kept.

    `object_bytes` are those of a usual object: no request holds more.
    """

    types: Mapping[str, TypeOption]
    max_payload_mb: int
    object_bytes: float = math.inf
    stated_concurrency: int | None = None
    stated_payload_mb: int | None = None
    batch_strategy: str = "MultiRecord"

    def compute_ratio(self, settings: RequestSettings) -> float:
        """The concurrency as a multiple of the type's default; of a type that is no longer listed, as it is."""
        option = self.types.get(settings.instance_type)
        return settings.max_concurrent_transforms / (1 if option is None else option.default_concurrency)

    def compute_default(self, instance_type: str) -> float:
        """The logarithm of the dollars that a byte is assumed to cost on a type."""
        costs = {
            name: math.log(each.dollars_per_second / each.default_bytes_per_second)
            for name, each in self.types.items()
            if each.default_bytes_per_second is not None
        }
        # Nothing is known of an accelerator: it may cost as much as the cheapest of the others.
        return costs.get(instance_type, min(costs.values(), default=0.0))

    def list_neighbours(
        self, settings: RequestSettings, failed: Sequence[RequestSettings] = ()
    ) -> Iterator[RequestSettings]:
        """The settings that differ from these in one respect.

        Where as much on that type has `failed`, requests are smaller, or fewer at a time.
        """
        for name in self.types:
            if name != settings.instance_type:
                yield self._shrink(self._move(settings, name), failed)
        ratio, (lowest, highest) = self.compute_ratio(settings), CONCURRENCY_RATIOS
        for factor in () if self.stated_concurrency else (0.5, 2.0):
            concurrency = round(settings.max_concurrent_transforms * factor)
            if concurrency >= 1 and lowest <= ratio * factor <= highest:
                yield self._shrink(settings._replace(max_concurrent_transforms=concurrency), failed)
        for payload in () if self.stated_payload_mb else self._list_payloads(settings.max_payload_mb):
            yield settings._replace(max_payload_mb=payload)

    def _move(self, settings: RequestSettings, instance_type: str) -> RequestSettings:
        """The settings on another type, with as many requests at a time in proportion to the types' defaults."""
        concurrency = settings.max_concurrent_transforms
        if not self.stated_concurrency:
            default = self.types[instance_type].default_concurrency
            limit = MAX_PAYLOAD_MB_IN_FLIGHT // settings.max_payload_mb
            concurrency = min(limit, max(1, round(self.compute_ratio(settings) * default)))
        return settings._replace(instance_type=instance_type, max_concurrent_transforms=concurrency)

    def _shrink(self, settings: RequestSettings, failed: Sequence[RequestSettings]) -> RequestSettings:
        """Make requests smaller, then let fewer run at a time, until no trial has failed with as much."""
        while has_failed(settings, failed):
            payload, concurrency = settings.max_payload_mb, settings.max_concurrent_transforms
            smaller = [each for each in self._list_payloads(payload) if each < payload]
            if smaller and not self.stated_payload_mb:
                settings = settings._replace(max_payload_mb=smaller[0])
            elif concurrency > 1 and not self.stated_concurrency:
                settings = settings._replace(max_concurrent_transforms=concurrency // 2)
            else:
                break
        return settings

    def _list_payloads(self, payload_mb: int) -> Iterator[int]:
        """The next smaller and the next larger payload, where a request then holds other records."""
        smaller = [each for each in PAYLOAD_STEPS_MB if each < payload_mb]
        larger = [each for each in PAYLOAD_STEPS_MB if payload_mb < each <= self.max_payload_mb]
        if smaller and smaller[-1] * MEBIBYTE < self.object_bytes:
            yield smaller[-1]
        if larger and payload_mb * MEBIBYTE < self.object_bytes:
            yield larger[0]

    def is_possible(self, settings: RequestSettings) -> bool:
        """Whether the type is listed, what is stated is kept, and SageMaker takes so many MB at once."""
        return (
            settings.instance_type in self.types
            and settings.batch_strategy == self.batch_strategy
            and self.stated_concurrency in (None, settings.max_concurrent_transforms)
            and self.stated_payload_mb in (None, settings.max_payload_mb)
            and settings.max_concurrent_transforms * settings.max_payload_mb <= MAX_PAYLOAD_MB_IN_FLIGHT
        )


class Ledger(NamedTuple):
    """What the runs of the history cost, without trials, and what their trials cost above their records' usual cost."""

    run_dollars: float
    extra_dollars: float
    runs: int

    def compute_balance(self, share: float) -> float:
        """The dollars that trials may still cost."""
        return share * self.run_dollars - self.extra_dollars

    def count_runs_until(self, dollars: float, share: float) -> int:
        """After how many more runs like those so far trials may cost this much."""
        each = share * self.run_dollars / max(1, self.runs)
        return math.ceil((dollars - self.compute_balance(share)) / each) if each > 0 else 0


def sum_ledger(history: Iterable[HistoryRow]) -> Ledger:
    """The ledger of these rows; a run of which a price is unknown adds nothing to what trials may cost."""
    run_dollars = extra = 0.0
    run_ids = set()
    for row in history:
        if row.is_trial:
            extra += row.trial_extra_dollars or 0.0
        else:
            run_dollars += row.dollars or 0.0
            run_ids.add(row.run_id)
    return Ledger(run_dollars, extra, len(run_ids))


def list_failed_trials(history: Iterable[HistoryRow]) -> list[RequestSettings]:
    """The settings with which a trial did not complete."""
    found = (get_request_settings(row) for row in history if row.is_trial and not row.bytes)
    return [settings for settings in found if settings is not None]


def list_types_without_capacity(history: Iterable[HistoryRow]) -> set[str]:
    """The types of which the last trials got no instance: each costs a start-up of the job that does its work."""
    by_type: dict[str, list[bool]] = {}
    for row in sorted(history, key=lambda each: each.data_time):
        if row.is_trial:
            got_none = not row.bytes and row.max_concurrent_transforms is None
            by_type.setdefault(row.instance_type, []).append(got_none)
    return {name for name, got_none in by_type.items() if got_none[-MAX_REFUSALS:] == [True] * MAX_REFUSALS}


def has_failed(settings: RequestSettings, failed: Iterable[RequestSettings]) -> bool:
    """Whether a trial failed with these settings, or with fewer or smaller requests at a time on the same type."""
    return any(
        settings.instance_type == each.instance_type
        and settings.max_concurrent_transforms >= each.max_concurrent_transforms
        and settings.max_payload_mb >= each.max_payload_mb
        for each in failed
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownSettings:
    """The settings that runs and trials have measured, and what each costs.

    `in_use` are the last ones of each type that a whole run had, `first` those of the first run; `without_capacity` see
    `list_types_without_capacity`.
    """

    cost: SettingsCost
    space: SearchSpace
    in_use: Mapping[str, RequestSettings]
    first: RequestSettings | None
    ledger: Ledger
    failed: Sequence[RequestSettings]
    without_capacity: Collection[str] = ()

    @property
    def too_large(self) -> list[RequestSettings]:
        """The settings with which a trial failed, unless as much or more at a time has succeeded on that type."""
        return [
            each
            for each in self.failed
            if not any(has_failed(measured, [each]) for measured in self.cost.measured)
        ]

    def is_ruled_out(self, settings: RequestSettings) -> bool:
        """Whether a trial failed with these settings, or with less at a time."""
        return settings in self.failed or has_failed(settings, self.too_large)

    def choose(self, instance_type: str) -> RequestSettings | None:
        """The settings for this type: those in use, or cheaper ones that were measured often enough to be certain.

        None where none was measured.
        """
        measured = [each for each in self.usable if each.instance_type == instance_type]
        if not measured:
            return None
        best, current = self.cost.find_cheapest(measured), self.in_use.get(instance_type)
        if current not in measured:
            return best
        is_certain = self.cost.compare(current, best).probability >= ADOPTION_PROBABILITY
        return best if is_certain else current

    def select_rows(self, history: Sequence[HistoryRow]) -> list[HistoryRow]:
        """The rows that tell how fast the chosen settings are: of a transform those with the choice for their type."""
        chosen = {name: self.choose(name) for name in {row.instance_type for row in history}}
        return [
            row
            for row in history
            if row.stage != "transform"
            or (
                not (row.is_trial and not row.bytes)
                and chosen[row.instance_type] in (None, get_request_settings(row))
            )
        ]

    @property
    def usable(self) -> list[RequestSettings]:
        """What was measured and may be used."""
        possible = filter(self.space.is_possible, self.cost.measured)
        return [each for each in possible if each in self.in_use.values() or not self.is_ruled_out(each)]

    def list_candidates(self) -> Iterator[RequestSettings]:
        """The cheapest settings known of each type, and those that differ from them in one respect."""
        usable = self.usable
        overall = self.cost.find_cheapest(usable)
        for name in dict.fromkeys(each.instance_type for each in usable):
            best = self.cost.find_cheapest(each for each in usable if each.instance_type == name)
            yield best
            for neighbour in self.space.list_neighbours(best, self.too_large):
                # Only the cheapest of all are tried on other types.
                if best == overall or neighbour.instance_type == name:
                    yield neighbour

    def describe_saving(self, chosen: RequestSettings) -> str | None:
        """What the chosen settings save against those of the first run; None where that is not measured."""
        runs, start = self.cost.count_runs(chosen), self.first
        if start in (None, chosen) or not runs or not self.cost.count_runs(start):
            return None
        saving = 1 - math.exp(-self.cost.compare(start, chosen).mean)
        than = f"{abs(saving):.0%} {'less' if saving >= 0 else 'more'} than {start.describe(chosen)}"
        return f"{chosen.describe()} costs {than}; measured on {format_count(runs, 'night')}."


def read_known_settings(
    history: Sequence[HistoryRow], model_key: str, space: SearchSpace
) -> KnownSettings | None:
    """What the history knows of settings; None where no run was measured."""

    def get_price(name: str) -> float | None:
        return space.types[name].dollars_per_second if name in space.types else None

    measurements = list_measurements(history, model_key, get_price)
    if not measurements:
        return None
    rows = sorted((row for row in history if not row.is_trial), key=lambda row: row.data_time)
    in_use = {each.instance_type: each for row in rows if (each := get_request_settings(row)) is not None}
    cost = SettingsCost(measurements, space.compute_default, space.compute_ratio)
    return KnownSettings(
        cost=cost,
        space=space,
        in_use=in_use,
        first=next((each for row in rows if (each := get_request_settings(row)) is not None), None),
        ledger=sum_ledger(history),
        failed=list_failed_trials(history),
        without_capacity=list_types_without_capacity(history),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRun:
    """The run that a trial would be part of.

    `settings` are those of its transform; `start_seconds` of a job are billed. `dollars_left` is what the budget leaves
    of the run's expected cost, None without a budget. `is_in_time` says whether the run keeps its deadline when a job
    that begins with the transform takes that many seconds from its creation; `has_room`, whether the quotas allow one
    instance of a type beside the run's own.
    """

    settings: RequestSettings
    dollars: float
    text_bytes: int
    start_seconds: float
    provisioning_seconds: float
    dollars_left: float | None = None
    max_trials: int = MAX_TRIALS
    is_in_time: Callable[[float], bool] = lambda _: True
    has_room: Callable[[str], bool] = lambda _: True

    @property
    def max_provisioning_seconds(self) -> int:
        """How long a trial waits for its instance."""
        return max(MIN_PROVISIONING_LIMIT_SECONDS, math.ceil(2 * self.provisioning_seconds))


class Candidate(NamedTuple):
    """Settings that may be tried, with what a trial of them costs above its records' usual cost."""

    settings: RequestSettings
    saving: float
    bytes: int
    max_runtime_seconds: int
    extra_dollars: float
    worst_dollars: float
    worst_seconds: float

    @property
    def saving_share(self) -> float:
        """The expected saving as a share of what the work costs."""
        return 1 - math.exp(-self.saving)


class TrialDecision(NamedTuple):
    """The trials of a run, and the sentences that say why these or none."""

    trials: tuple[TrialPlan, ...]
    sentences: tuple[str, ...]


def plan_trials(known: KnownSettings, share: float, run: PlannedRun) -> TrialDecision:
    """Choose what is most worth trying in this run, at most `run.max_trials` settings.

    Trials may cost `share` of what runs cost, also if each of them fails.
    """
    cost, balance = known.cost, known.ledger.compute_balance(share)
    if not cost.count_runs(run.settings):
        return TrialDecision((), ("Nothing is tried in this run: its own settings were not measured yet.",))
    weighed = _weigh_candidates(known, run)
    if weighed == []:
        too_few = (
            f"a trial takes at most {MAX_TRIAL_SHARE:.0%} of its records, which are too few to measure by."
        )
        return TrialDecision((), (f"Nothing is tried in this run: {too_few}",))
    candidates = [each for each in weighed or () if _compute_worth(each, run) > 0]
    if not candidates:
        none = f"no other settings that it has enough records to try promise to save {MIN_SAVING:.0%} or more"
        return TrialDecision((), (f"Nothing is tried in this run: {none}.",))
    if run.max_trials < 1:
        return TrialDecision((), ("Nothing is tried in this run: its limits allow no further instance.",))
    safe = [each for each in candidates if run.is_in_time(each.worst_seconds)]
    if not safe:
        return TrialDecision(
            (), ("Nothing is tried in this run: its deadline is too near for a trial that fails.",)
        )
    left = balance if run.dollars_left is None else min(balance, run.dollars_left)
    chosen: list[Candidate] = []
    for each in safe:
        if each.worst_dollars <= left and len(chosen) < run.max_trials:
            chosen.append(each)
            left -= each.worst_dollars
    if not chosen:
        least = min(each.worst_dollars for each in safe)
        sentence = f"Nothing is tried in this run: a trial that fails may cost {format_dollars(least)}"
        if run.dollars_left is not None and run.dollars_left < least:
            return TrialDecision((), (f"{sentence}, more than its budget leaves.",))
        runs = format_count(known.ledger.count_runs_until(least, share), "more run")
        left_clause = f"of {share:.0%} of what runs cost {format_dollars(max(0.0, balance))} is left"
        return TrialDecision(
            (), (f"{sentence}, and {left_clause}; that is enough after about {runs} like those so far.",)
        )
    usual = math.exp(cost.estimate(run.settings))
    return TrialDecision(
        tuple(
            TrialPlan(
                **each.settings._asdict(),
                bytes=each.bytes,
                max_runtime_seconds=each.max_runtime_seconds,
                max_provisioning_seconds=run.max_provisioning_seconds,
                usual_dollars_per_byte=usual,
            )
            for each in chosen
        ),
        (
            *(
                f"One more instance tries {each.settings.describe()} on about {format_bytes(each.bytes)}, for about "
                f"{format_dollars(each.extra_dollars)} more: it may save {each.saving_share:.0%}."
                for each in chosen
            ),
            f"{format_dollars(balance)} was left for trials; records of one that fails are scored as all others.",
        ),
    )


def _weigh_candidates(known: KnownSettings, run: PlannedRun) -> list[Candidate] | None:
    """The settings that the run has enough records to try, the most worthwhile first; None without other settings."""
    settings = [
        each
        for each in dict.fromkeys(known.list_candidates())
        if run.has_room(each.instance_type)
        and each.instance_type not in known.without_capacity
        and each != run.settings
        and known.space.is_possible(each)
        and not known.is_ruled_out(each)
    ]
    weighed = [candidate for each in settings if (candidate := _weigh(known, each, run)) is not None]
    return sorted(weighed, key=lambda each: _compute_worth(each, run), reverse=True) if settings else None


def _weigh(known: KnownSettings, settings: RequestSettings, run: PlannedRun) -> Candidate | None:
    """What a trial of these settings saves and costs; None where the run has too little to try them on."""
    option, object_bytes = known.space.types[settings.instance_type], known.space.object_bytes
    usual, tried = math.exp(known.cost.estimate(run.settings)), math.exp(known.cost.estimate(settings))
    speed = option.dollars_per_second / tried
    request_bytes = min(settings.max_payload_mb * MEBIBYTE, object_bytes)
    wanted = max(
        TRIAL_WORK_SECONDS * speed,
        REQUESTS_PER_SLOT * settings.max_concurrent_transforms * request_bytes,
    )
    trial_bytes = math.ceil(wanted / object_bytes) * object_bytes
    if trial_bytes > MAX_TRIAL_SHARE * run.text_bytes:
        return None
    working_seconds = trial_bytes / speed
    limit = 2 * run.start_seconds + MAX_TRIAL_SLOWDOWN * working_seconds
    usual_price = known.space.types[run.settings.instance_type].dollars_per_second
    # A trial that fails has been billed until its limit, and its records need one more job.
    again_seconds = run.start_seconds + trial_bytes * usual / usual_price
    return Candidate(
        settings,
        _expect_gain(known.cost, settings, known.cost.find_cheapest(known.usable), run.settings),
        round(trial_bytes),
        math.ceil(limit),
        extra_dollars=option.dollars_per_second * run.start_seconds + max(0.0, trial_bytes * (tried - usual)),
        worst_dollars=option.dollars_per_second * limit + usual_price * run.start_seconds,
        worst_seconds=run.max_provisioning_seconds + limit + run.provisioning_seconds + again_seconds,
    )


def _expect_gain(
    cost: SettingsCost, settings: RequestSettings, best: RequestSettings, in_use: RequestSettings
) -> float:
    """The logarithm of the saving that is expected of a trial beyond what is known.

    Of the cheapest settings known a trial shows whether they may replace those in use, unless that is certain already.
    """
    if settings != best:
        return cost.compare(best, settings).expected_gain
    difference = cost.compare(in_use, best)
    return 0.0 if difference.probability >= ADOPTION_PROBABILITY else difference.expected_gain


def _compute_worth(candidate: Candidate, run: PlannedRun) -> float:
    """The dollars that a trial is expected to save in later runs; 0 where its saving is too low to be worth it."""
    if candidate.saving_share < MIN_SAVING:
        return 0.0
    return candidate.saving_share * run.dollars * RUNS_AHEAD - candidate.extra_dollars


def pick_for_trials(sizes: Sequence[int], trials: Sequence[TrialPlan], text_bytes: int) -> list[list[int]]:
    """For each trial the positions of the objects, of these sizes in bytes, that it takes: from all over the list.

    `text_bytes` are those of all objects together, unpacked. None is more than twice as large as the mean, and all
    trials together take at most half of these; trials for which none are left get none.
    """
    usual = [position for position, size in enumerate(sizes) if size * len(sizes) <= 2 * sum(sizes)]
    each_bytes = sum(sizes[position] for position in usual) / max(1, len(usual))
    stored_share = sum(sizes) / max(1, text_bytes)
    counts: list[int] = []
    for trial in trials:
        wanted = round(trial.bytes * stored_share / each_bytes) if each_bytes else 0
        counts.append(min(wanted, len(usual) // 2 - sum(counts)))
    total = sum(counts)
    picked = iter([usual[int((number + 0.5) * len(usual) / total)] for number in range(total)])
    return [[next(picked) for _ in range(count)] for count in counts]
