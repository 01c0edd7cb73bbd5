"""What follows a transform that failed because of some of its objects: the objects again, pieces of them, or the end.

An object may be refused by chance, so it is sent once more. Refused twice it is cut, and each piece that is refused is
cut into its records. There are models that do not answer a record alone, so each is sent in the company of a record
that is known to be answered, and, as a control, so is another one that is. A record that is refused is one that the
model cannot take where it has answered an object of as many records; it is then a reject like any other. Where it has
answered none, no record is blamed. That takes at most three further jobs, and is given up as soon as it is clear that
it cannot end well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from include.scoring.messages import count, money
from include.scoring.pieces import Piece, Record, Spans
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
        left: what the last job was given and is not answered.
        given: how many objects the last job was given.
        refused: how many jobs have refused each piece; what is not in it was answered, or not reached.
        refused_now: what the last job has refused.
        answered: all pieces that any job has answered.
        jobs: how many jobs have refused something.
    """

    left: Sequence[Piece]
    given: int
    refused: Mapping[Piece, int]
    refused_now: Collection[Piece]
    answered: Collection[Piece]
    jobs: int

    @classmethod
    def of(
        cls,
        rounds: Sequence[tuple[Collection[Piece], Collection[Piece], Collection[Piece]]],
    ) -> Situation:
        """From what each job was given, has answered and has refused.

        A piece whose records some job has answered is not asked about any more, whatever another job said of it.
        """
        given, _, refused_now = rounds[-1]
        answered = {piece for _, pieces, _ in rounds for piece in pieces}
        known = Spans(answered)
        return cls(
            left=[piece for piece in given if piece not in known],
            given=len(given),
            refused=Counter(piece for _, _, pieces in rounds for piece in pieces if piece not in known),
            refused_now={piece for piece in refused_now if piece not in known},
            answered=answered,
            jobs=sum(bool(pieces) for _, _, pieces in rounds),
        )

    def find_known(self) -> list[Record]:
        """One or two records that are known to be answered, the same ones whenever they are asked for; or none."""
        found: list[Record] = []
        for piece in sorted(
            self.answered, key=lambda each: (each.company is not None, each.first, each.shard)
        ):
            for number in range(piece.first, min(piece.last, piece.first + 1) + 1):
                record = Record(piece.shard, number)
                if record not in found:
                    found.append(record)
                if len(found) == 2:
                    return found
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How far it may go. Counts are of records; `max_rejected` as the pipeline states it."""

    records_in: int
    records_out: int
    rejected: int
    max_rejected: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Further:
    """One further job: `again` as they are, `cut` in pieces.

    `company` is sent along with each single record that a piece is cut to, and with `control`, which is known to be
    answered as well.
    """

    again: tuple[Piece, ...]
    cut: tuple[Piece, ...]
    company: Record | None = None
    control: Record | None = None

    def cut_pieces(self, piece: Piece) -> Iterator[Piece]:
        """What one of `cut` is cut into."""
        return piece.cut(self.company)

    def control_pieces(self) -> Iterator[Piece]:
        """The control, where the job has one."""
        if self.control is not None:
            number = self.control.number
            yield Piece(self.control.shard, number, number, self.cut[0].suffix, company=self.company)

    @property
    def pieces(self) -> list[Piece]:
        """All objects that the job gets."""
        parts = [part for piece in self.cut for part in self.cut_pieces(piece)]
        return [*self.again, *parts, *self.control_pieces()]

    @property
    def objects(self) -> int:
        """How many objects the job gets."""
        return len(self.pieces)

    @property
    def records(self) -> int:
        """How many records these objects hold."""
        return sum(piece.sent for piece in self.pieces)

    def sentence(self) -> str:
        """What is about to happen, for a person."""
        parts = []
        if self.again:
            parts.append(f"{count(len(self.again), 'object')} as before")
        if self.cut:
            pieces = sum(1 for piece in self.cut for _ in self.cut_pieces(piece))
            parts.append(f"{count(len(self.cut), 'object')} cut into {pieces:,}")
        company = "" if self.company is None else " Each single record goes with one that the model answers."
        return f"A further job takes {' and '.join(parts)}, {count(self.records, 'record')} in all.{company}"


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
    poison = find_poison(now)
    found = {piece.span for piece in poison}
    open_ = [piece for piece in now.left if piece.span not in found]
    if open_ and not now.refused_now:
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
    # Each object of several that was refused twice holds at least one record that ends among the rejects.
    several = sum(piece.records > 1 for piece in cut)
    problem = too_many(len(poison) + several, bounds, at_least=several > 0)
    if problem:
        return GiveUp(problem)
    if not open_:
        return Found(poison)
    further = _cut_further(now, open_, cut)
    if isinstance(further, GiveUp):
        return further
    if now.jobs >= MOST_JOBS:
        return GiveUp(
            f"After {count(now.jobs, 'job')} there are still objects without an answer, {len(open_):,} in all, the "
            f"first {open_[0].name}: the containers end before all is done, and nothing says which record is to blame."
        )
    if cut and further.objects > MOST_OBJECTS:
        return GiveUp(
            f"{count(len(cut), 'object')} would be cut into {further.objects:,}, and at most {MOST_OBJECTS:,} are "
            f"tried. Too many records are refused to be found one by one: let a rule reject them beforehand."
        )
    return further


def find_poison(now: Situation) -> tuple[Piece, ...]:
    """The single records that the model cannot take: it refused them where it answers as many records at a time.

    A whole shard of one record may have been refused by chance, until it was refused twice.
    """
    sizes = {piece.sent for piece in now.answered}
    found = {
        piece.span: piece
        for piece, times in now.refused.items()
        if piece.records == 1 and piece.sent in sizes and (not piece.whole or times > 1)
    }
    return tuple(found[span] for span in sorted(found))


def _cut_further(now: Situation, open_: Sequence[Piece], cut: tuple[Piece, ...]) -> Further | GiveUp:
    """The further job; or why a single record that was refused cannot be blamed."""
    known = now.find_known()
    refused = [piece for piece in cut if piece.records == 1]
    again = [piece for piece in open_ if piece not in set(cut)]
    # What was not reached may still show that the model answers as many records.
    is_last = not any(piece.company is not None for piece in again)
    if is_last and any(piece.company is not None for piece in refused):
        return GiveUp(
            f"The model refused {count(len(refused), 'record')}, each sent with one that it has answered, and no other "
            f"object of {refused[0].sent} records was answered either: it may not answer so few records at a time, so "
            f"no record can be blamed. Let the model take a request of one record or two."
        )
    if refused and not known:
        return GiveUp(
            f"The model refused {count(len(refused), 'record')}, each sent alone, and has answered nothing at all: it "
            f"may not answer a single record, so none can be blamed. Let the model take a request of one record."
        )
    needs_company = any(not piece.whole or piece.records == 1 for piece in cut)
    if not needs_company or not known:
        return Further(again=tuple(again), cut=cut)
    company, *others = known
    return Further(again=tuple(again), cut=cut, company=company, control=others[0] if others else None)


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
