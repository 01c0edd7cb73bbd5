"""What follows a transform that failed because of some of its objects: the objects again, pieces of them, or the end.

An object may be refused by chance, so it is sent once more. Refused twice it is cut, and each piece that is refused is
cut into its records; a single record that is refused is one that the model cannot take. It is then a reject like any
other. That takes at most three further jobs, and is given up as soon as it is clear that it cannot end well.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from include.scoring.messages import count, money
from include.scoring.pieces import Piece
from include.scoring.reconciliation import rejects_allowed

#: The first job, the objects once more, pieces, single records.
MOST_JOBS = 4
#: Of so many objects one would have been answered if single records were to blame.
TELLING = 4
#: Objects of one further job: a model answers ten thousand small requests in minutes.
MOST_OBJECTS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What is known after a job that failed for good.

    Attributes:
        left: what the last job was given and has not answered.
        given: how many objects the last job was given.
        refused: how many jobs have refused each piece; what is not in it was answered, or not reached.
        refused_now: what the last job has refused.
        answered: whether any job has answered anything at all.
        jobs: how many jobs have refused something.
    """

    left: Sequence[Piece]
    given: int
    refused: Mapping[Piece, int]
    refused_now: Collection[Piece]
    answered: bool
    jobs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How far it may go. Counts are of records; `max_rejected` as the pipeline states it."""

    records_in: int
    records_out: int
    rejected: int
    max_rejected: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Further:
    """One further job: `again` as they are, `cut` in pieces."""

    again: tuple[Piece, ...]
    cut: tuple[Piece, ...]

    @property
    def objects(self) -> int:
        """How many objects the job gets."""
        return len(self.again) + sum(sum(1 for _ in piece.cut()) for piece in self.cut)

    @property
    def records(self) -> int:
        """How many records these objects hold."""
        return sum(piece.records for piece in (*self.again, *self.cut))

    def sentence(self) -> str:
        """What is about to happen, for a person."""
        parts = []
        if self.again:
            parts.append(f"{count(len(self.again), 'object')} as before")
        if self.cut:
            parts.append(f"{count(len(self.cut), 'object')} cut into {self.objects - len(self.again):,}")
        return f"A further job takes {' and '.join(parts)}, {count(self.records, 'record')} in all."


@dataclass(frozen=True, slots=True)
class Found:
    """Every record is answered but these, each refused on its own."""

    poison: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class GiveUp:
    """No further job: why."""

    because: str


def decide(now: Situation, bounds: Bounds) -> Further | Found | GiveUp:
    """What follows. Pure: the same situation gives the same answer."""
    alone = _poison(now)
    poison = tuple(sorted(alone, key=lambda piece: (piece.shard, piece.first)))
    open_ = [piece for piece in now.left if piece not in alone]
    if not now.refused_now:
        return GiveUp(
            "The job's log names no object that was refused, so no record can be blamed: the containers ended, or "
            "could not start."
        )
    if not now.answered and len(now.refused_now) >= TELLING and len(now.refused_now) == now.given:
        return GiveUp(
            f"The model refused all of {count(now.given, 'object')}, so it is the model and not single records: no "
            f"further job is paid for."
        )
    cut = tuple(
        piece for piece in open_ if piece in now.refused_now and (not piece.whole or now.refused[piece] > 1)
    )
    to_cut = set(cut)
    again = tuple(piece for piece in open_ if piece not in to_cut)
    # Each object that was refused twice holds at least one record that ends among the rejects.
    problem = too_many(len(poison) + len(cut), bounds, at_least=bool(cut))
    if problem:
        return GiveUp(problem)
    if not open_:
        return Found(poison)
    if now.jobs >= MOST_JOBS:
        return GiveUp(
            f"After {count(now.jobs, 'job')} there are still objects without an answer, {len(open_):,} in all, the "
            f"first {open_[0].name}: the containers end before all is done, and nothing says which record is to blame."
        )
    further = Further(again=again, cut=cut)
    if cut and further.objects > MOST_OBJECTS:
        return GiveUp(
            f"{count(len(cut), 'object')} would be cut into {further.objects:,}, and at most {MOST_OBJECTS:,} are "
            f"tried. Too many records are refused to be found one by one: let a rule reject them beforehand."
        )
    return further


def too_many(refused: int, bounds: Bounds, *, at_least: bool = False) -> str | None:
    """Why so many refused records are more than the pipeline allows, or None."""
    said = f"{'At least ' if at_least else ''}{count(refused, 'record')} of {bounds.records_out:,} cannot be scored"
    if refused >= bounds.records_out > 0:
        return f"{said}, which leaves nothing to publish."
    if bounds.max_rejected is None:
        return None
    allowed, limit = rejects_allowed(bounds.max_rejected, bounds.records_in)
    if bounds.rejected + refused <= allowed:
        return None
    return (
        f"{said}; with the {bounds.rejected:,} that preprocessing rejected these are {bounds.rejected + refused:,} of "
        f"{bounds.records_in:,}, and max_rejected allows {limit}. Nothing is published."
    )


def over_budget(
    *, budget: float | None, spent: float | None, further: float | None, join: float | None = 0.0
) -> str | None:
    """Why a further job that costs about `further` dollars may not be paid for, or None.

    `spent` is what the run's jobs have cost so far, `join` what the job that joins will cost; without a budget nothing
    is too much.
    """
    if budget is None:
        return None
    if spent is None or further is None or join is None:
        return (
            f"A further job could find the records that the model refuses, but its cost is unknown and the budget is "
            f"{money(budget)}: state the price of the instance type under prices."
        )
    if spent + further + join <= budget:
        return None
    kept = f" and the {money(join)} of the join" if join else ""
    return (
        f"A further job could find the records that the model refuses, but it would cost about {money(further)} beside "
        f"the {money(spent)} already spent{kept}, and the budget is {money(budget)}."
    )


def _poison(now: Situation) -> set[Piece]:
    return {
        piece for piece in now.refused if piece.records == 1 and (not piece.whole or now.refused[piece] > 1)
    }
