"""Decides what follows a transform that failed because the model refused objects: the next job of the search, or none.

An object may be refused by chance, so it is sent once more. Refused twice, it is split, and each piece that is refused
is split into its records. Some models do not answer a request of one record, so each record is sent with a companion:
a record that is known to be answered. Another such record is sent the same way as a control. A refused record counts as
bad only if the model has answered an object of as many records; it is then a reject like any other. The search takes at
most three further jobs, and ends as soon as it cannot succeed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from batch_inference.common.formatting import format_count, format_dollars
from batch_inference.verification.reconciliation import compute_allowed_rejects
from batch_inference.verification.shard_pieces import RecordRanges, ShardPiece, ShardRecord

#: The first job, then one each for whole objects again, for pieces and for single records.
MAX_JOBS = 4
#: If the model refuses at least this many objects and answers none, the model is at fault and not single records.
MIN_TELLING_OBJECTS = 4
#: The most objects of a further job: a model answers ten thousand small requests in minutes.
MAX_OBJECTS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchState:
    """What is known of the pieces after a job that failed permanently.

    Attributes:
        unanswered: the pieces of the last job that no job has answered.
        last_object_count: the number of objects of the last job.
        refusal_counts: by piece, the number of jobs in which the model refused it.
        last_refused: the pieces that the model refused in the last job.
        answered_pieces: the pieces for which any job has predictions.
        refusing_job_count: the number of jobs in which the model refused something.
    """

    unanswered: Sequence[ShardPiece]
    last_object_count: int
    refusal_counts: Mapping[ShardPiece, int]
    last_refused: Collection[ShardPiece]
    answered_pieces: Collection[ShardPiece]
    refusing_job_count: int

    @classmethod
    def from_rounds(
        cls,
        rounds: Sequence[tuple[Collection[ShardPiece], Collection[ShardPiece], Collection[ShardPiece]]],
    ) -> SearchState:
        """From each job's pieces, answered pieces and refused pieces.

        A piece whose records any job has answered counts as answered, even if another job refused it.
        """
        given, _, refused_now = rounds[-1]
        answered = {piece for _, pieces, _ in rounds for piece in pieces}
        known = RecordRanges(answered)
        return cls(
            unanswered=[piece for piece in given if piece not in known],
            last_object_count=len(given),
            refusal_counts=Counter(
                piece for _, _, pieces in rounds for piece in pieces if piece not in known
            ),
            last_refused={piece for piece in refused_now if piece not in known},
            answered_pieces=answered,
            refusing_job_count=sum(bool(pieces) for _, _, pieces in rounds),
        )

    def find_answered_records(self) -> list[ShardRecord]:
        """Up to two records that the model is known to answer; the same ones at every call."""
        pieces = sorted(
            self.answered_pieces, key=lambda each: (each.companion is not None, each.first, each.shard)
        )
        firsts = (ShardRecord(piece.shard, number) for piece in pieces for number in piece.numbers[:2])
        return list(dict.fromkeys(firsts))[:2]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchLimits:
    """The run's counts of records, and `max_rejected` of the pipeline."""

    records_in: int
    records_out: int
    rejected_count: int
    max_rejected: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FurtherJob:
    """The next job of the search: `unchanged` pieces again, and the parts of those `to_split`.

    `companion` is added to each single record, and to `control`, another record that is known to be answered.
    """

    unchanged: tuple[ShardPiece, ...]
    to_split: tuple[ShardPiece, ...]
    companion: ShardRecord | None = None
    control: ShardRecord | None = None

    def split_piece(self, piece: ShardPiece) -> Iterator[ShardPiece]:
        """The parts of a piece in `to_split`."""
        return piece.split(self.companion)

    def list_control_pieces(self) -> Iterator[ShardPiece]:
        """The control record as a piece, where the job has one."""
        if self.control is not None:
            shard, number = self.control.shard, self.control.number
            yield ShardPiece(shard, number, number, self.to_split[0].suffix, companion=self.companion)

    @property
    def pieces(self) -> list[ShardPiece]:
        """All pieces of the job, one object each."""
        parts = [part for piece in self.to_split for part in self.split_piece(piece)]
        return [*self.unchanged, *parts, *self.list_control_pieces()]

    @property
    def record_count(self) -> int:
        """The number of records in these objects, companions included."""
        return sum(piece.sent_count for piece in self.pieces)

    def describe(self) -> str:
        """A sentence on what the job does."""
        parts = []
        if self.unchanged:
            parts.append(f"{format_count(len(self.unchanged), 'object')} as before")
        if self.to_split:
            pieces = sum(1 for piece in self.to_split for _ in self.split_piece(piece))
            parts.append(f"{format_count(len(self.to_split), 'object')} split into {pieces:,}")
        company = " Each single record goes with one that the model answers." if self.companion else ""
        records_text = format_count(self.record_count, "record")
        return f"A further job takes {' and '.join(parts)}, {records_text} in all.{company}"


@dataclass(frozen=True, slots=True)
class BadRecords:
    """The end of the search: single records that the model refuses; every other record is answered."""

    pieces: tuple[ShardPiece, ...]


@dataclass(frozen=True, slots=True)
class SearchFailure:
    """The end of the search without a result: the reason, and what to do where the job's failure does not say it."""

    reason: str
    advice: str | None = None


def choose_next_step(state: SearchState, limits: SearchLimits) -> FurtherJob | BadRecords | SearchFailure:
    """Choose the next step of the search. Pure: equal states give equal steps."""
    bad_records = find_bad_records(state)
    found = {piece.record_range for piece in bad_records}
    open_pieces = [piece for piece in state.unanswered if piece.record_range not in found]
    if open_pieces and not state.last_refused:
        return SearchFailure(
            "The job's log names no object that was refused, so no record can be blamed: the containers ended, or "
            "could not start."
        )
    if (
        not state.answered_pieces
        and len(state.last_refused) >= MIN_TELLING_OBJECTS
        and len(state.last_refused) == state.last_object_count
    ):
        return SearchFailure(
            f"The model refused all of {format_count(state.last_object_count, 'object')}, so it is the model and "
            "not single records: no further job is paid for.",
            "Correct the model, or name the one that fits these columns, then clear the task that submitted the job, "
            "with all that follows it.",
        )
    to_split = tuple(
        piece
        for piece in open_pieces
        if piece in state.last_refused and (not piece.is_whole or state.refusal_counts[piece] > 1)
    )
    # Each piece of several records that was refused twice contains at least one bad record.
    pieces_of_several = sum(piece.record_count > 1 for piece in to_split)
    refused_count = len(bad_records) + pieces_of_several
    problem = explain_too_many_rejects(refused_count, limits, is_minimum=pieces_of_several > 0)
    if problem:
        return SearchFailure(problem)
    if not open_pieces:
        return BadRecords(bad_records)
    further_job = _plan_split(state, open_pieces, to_split)
    if isinstance(further_job, SearchFailure):
        return further_job
    if state.refusing_job_count >= MAX_JOBS:
        return SearchFailure(
            f"After {format_count(state.refusing_job_count, 'job')} there are still objects without an answer, "
            f"{len(open_pieces):,} in all, the first {open_pieces[0].name}: the containers end before all is done, "
            "and nothing says which record is to blame."
        )
    if to_split and len(further_job.pieces) > MAX_OBJECTS:
        return SearchFailure(
            f"{format_count(len(to_split), 'object')} would be split into {len(further_job.pieces):,}, and at "
            f"most {MAX_OBJECTS:,} are tried. Too many records are refused to be found one by one: let a rule "
            "reject them beforehand."
        )
    return further_job


def find_bad_records(state: SearchState) -> tuple[ShardPiece, ...]:
    """The single records that the model refuses although it answers other objects of as many records.

    A whole shard of one record counts only once it was refused twice, since it may be refused by chance.
    """
    sizes = {piece.sent_count for piece in state.answered_pieces}
    found = {
        piece.record_range: piece
        for piece, times in state.refusal_counts.items()
        if piece.record_count == 1 and piece.sent_count in sizes and (not piece.is_whole or times > 1)
    }
    return tuple(found[span] for span in sorted(found))


def _plan_split(
    state: SearchState, open_pieces: Sequence[ShardPiece], to_split: tuple[ShardPiece, ...]
) -> FurtherJob | SearchFailure:
    """The next job; or the reason why a refused single record is not known to be bad."""
    answered_records = state.find_answered_records()
    refused = [piece for piece in to_split if piece.record_count == 1]
    again = [piece for piece in open_pieces if piece not in set(to_split)]
    # Objects that the last job did not reach may still show that the model answers as many records.
    is_last = not any(piece.companion is not None for piece in again)
    if is_last and any(piece.companion is not None for piece in refused):
        return SearchFailure(
            f"The model refused {format_count(len(refused), 'record')}, each sent with one that it has answered, "
            f"and no other object of {refused[0].sent_count} records was answered either: it may not answer so few "
            "records at a time, so no record can be blamed. Let the model take a request of one record or two."
        )
    if refused and not answered_records:
        return SearchFailure(
            f"The model refused {format_count(len(refused), 'record')}, each sent alone, and has answered nothing "
            "at all: it may not answer a single record, so none can be blamed. Let the model take a request of "
            "one record."
        )
    needs_company = any(not piece.is_whole or piece.record_count == 1 for piece in to_split)
    if not needs_company or not answered_records:
        return FurtherJob(unchanged=tuple(again), to_split=to_split)
    company, control = (*answered_records, None)[:2]
    return FurtherJob(unchanged=tuple(again), to_split=to_split, companion=company, control=control)


def explain_too_many_rejects(
    refused_count: int, limits: SearchLimits, *, is_minimum: bool = False
) -> str | None:
    """Why `refused_count` refused records exceed `max_rejected`, or None."""
    refused_text = f"{'At least ' if is_minimum else ''}{format_count(refused_count, 'record')}"
    summary = f"{refused_text} of {limits.records_out:,} cannot be scored"
    if refused_count >= limits.records_out > 0:
        return f"{summary}, which leaves nothing to publish."
    if limits.max_rejected is None:
        return None
    allowed, limit = compute_allowed_rejects(limits.max_rejected, limits.records_in)
    if limits.rejected_count + refused_count <= allowed:
        return None
    return (
        f"{summary}; with the {limits.rejected_count:,} that preprocessing rejected these are "
        f"{limits.rejected_count + refused_count:,} of {limits.records_in:,}, and max_rejected allows {limit}. Nothing "
        "is published."
    )


def explain_over_budget(
    *,
    budget: float | None,
    spent_dollars: float | None,
    job_dollars: float | None,
    join_dollars: float | None = 0.0,
) -> str | None:
    """Why a further job of about `job_dollars` exceeds the budget, or None.

    `spent_dollars` is the cost of the run's jobs so far, `join_dollars` that of the join job to come. Without a budget
    every cost is allowed.
    """
    if budget is None:
        return None
    if spent_dollars is None or job_dollars is None or join_dollars is None:
        return (
            f"A further job could find the records that the model refuses, but its cost is unknown and the budget is "
            f"{format_dollars(budget)}: state the price of the instance type under prices."
        )
    if spent_dollars + job_dollars + join_dollars <= budget:
        return None
    join_clause = f" and the {format_dollars(join_dollars)} of the join" if join_dollars else ""
    return (
        "A further job could find the records that the model refuses, but costs about "
        f"{format_dollars(job_dollars)} besides the {format_dollars(spent_dollars)} already spent{join_clause}, "
        f"and the budget is {format_dollars(budget)}."
    )
