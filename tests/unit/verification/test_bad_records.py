"""What follows a transform that failed because of some of its objects."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from batch_inference.verification.bad_records import (
    BadRecords,
    FurtherJob,
    SearchFailure,
    SearchLimits,
    SearchState,
    choose_next_step,
    explain_over_budget,
)
from batch_inference.verification.shard_pieces import ShardPiece, ShardRecord

SHARDS = [ShardPiece(f"algo-1-{number:05d}", 1, 100, ".csv", is_whole=True) for number in range(10)]
BAD = SHARDS[3]
PIECES = list(BAD.split())
SINGLES = list(PIECES[4].split())
BOUNDS = SearchLimits(records_in=1_010, records_out=1_000, rejected_count=10, max_rejected=None)


COMPANY, CONTROL = ShardRecord(SHARDS[0].shard, 1), ShardRecord(SHARDS[0].shard, 2)
TOGETHER = [replace(piece, companion=COMPANY) for piece in SINGLES]


def build_state(refused: Collection[ShardPiece], times: int = 1, /, **changes: Any) -> SearchState:
    """The last job has refused these, which have been refused so many times, and answered the others it was given."""
    made = SearchState(
        unanswered=list(refused),
        last_object_count=10,
        refusal_counts=dict.fromkeys(refused, times),
        last_refused=set(refused),
        answered_pieces={SHARDS[0]},
        refusing_job_count=times,
    )
    return replace(made, **changes)


def answering(*pieces: ShardPiece) -> dict[str, Any]:
    """Besides the first shard these were answered."""
    return {"answered_pieces": {SHARDS[0], *pieces}}


def test_an_object_that_was_refused_once_is_sent_once_more() -> None:
    """It may have been by chance."""
    assert choose_next_step(build_state([BAD]), BOUNDS) == FurtherJob(unchanged=(BAD,), to_split=())


def test_an_object_that_was_refused_twice_is_cut() -> None:
    """Into about as many pieces as each then has records; what was not reached goes along as it is."""
    further = choose_next_step(build_state([BAD], 2, unanswered=[BAD, SHARDS[7]]), BOUNDS)
    assert further == FurtherJob(unchanged=(SHARDS[7],), to_split=(BAD,))
    assert (len(further.pieces), further.record_count) == (11, 200)
    assert further.describe() == (
        "A further job takes 1 object as before and 1 object split into 10, 200 records in all."
    )


def test_a_refused_piece_is_cut_into_its_records() -> None:
    """One refusal is enough: its shard was refused twice. Each goes with one that is answered; so does a control."""
    further = choose_next_step(build_state([PIECES[4]], refusing_job_count=3), BOUNDS)
    assert further == FurtherJob(unchanged=(), to_split=(PIECES[4],), companion=COMPANY, control=CONTROL)
    assert further.pieces == [*TOGETHER, ShardPiece(SHARDS[0].shard, 2, 2, ".csv", companion=COMPANY)]
    assert (len(further.pieces), further.record_count) == (11, 22)
    assert further.describe() == (
        "A further job takes 1 object split into 10, 22 records in all. Each single record goes with one that the "
        "model answers."
    )


def test_single_records_that_are_refused_are_the_poison() -> None:
    """Also those of an earlier round, while the last one was about others; in order, each once."""
    earlier = ShardPiece("algo-1-00001", 7, 7, ".csv", companion=COMPANY)
    refused = {TOGETHER[2]: 1, SINGLES[2]: 1, earlier: 1, PIECES[4]: 1}
    now = build_state([TOGETHER[2]], refusal_counts=refused, refusing_job_count=4, **answering(TOGETHER[3]))
    assert choose_next_step(now, BOUNDS) == BadRecords((earlier, TOGETHER[2]))


def test_a_record_is_blamed_only_where_as_many_were_answered() -> None:
    """Alone it goes into company; in company, without an answer to any two records, nobody can say."""
    alone = build_state([SINGLES[2]], refusing_job_count=3)
    assert choose_next_step(alone, BOUNDS) == FurtherJob(
        unchanged=(), to_split=(SINGLES[2],), companion=COMPANY, control=CONTROL
    )
    assert choose_next_step(replace(alone, **answering(SINGLES[3])), BOUNDS) == BadRecords((SINGLES[2],))
    assert "each sent with one that it has answered, and no other object of 2 records" in given_up(
        build_state([TOGETHER[2]], refusing_job_count=4)
    )
    assert "each sent alone, and has answered nothing at all" in given_up(
        build_state([SINGLES[2]], answered_pieces=set(), last_object_count=1, refusing_job_count=4)
    )
    not_reached = build_state([TOGETHER[2]], unanswered=[TOGETHER[2], TOGETHER[3]], refusing_job_count=3)
    again = FurtherJob(unchanged=(TOGETHER[3],), to_split=(TOGETHER[2],), companion=COMPANY, control=CONTROL)
    assert choose_next_step(not_reached, BOUNDS) == again


def test_company_and_control_are_two_records_that_are_known_to_be_answered() -> None:
    """The same ones whenever they are asked for; where there is but one, it is the company."""
    lonely = [ShardPiece(f"algo-1-0000{number}", 1, 1, ".csv", is_whole=True) for number in (7, 8)]
    for answered, known in (
        ({*SHARDS[:3], *TOGETHER}, [COMPANY, CONTROL]),
        (set(lonely), [ShardRecord("algo-1-00007", 1), ShardRecord("algo-1-00008", 1)]),
        ({lonely[1]}, [ShardRecord("algo-1-00008", 1)]),
        (set(), []),
    ):
        assert build_state([], answered_pieces=answered).find_answered_records() == known
    further = choose_next_step(
        build_state([PIECES[4]], answered_pieces={lonely[1]}, refusing_job_count=3), BOUNDS
    )
    assert isinstance(further, FurtherJob)
    assert (further.companion, further.control, len(further.pieces)) == (
        ShardRecord("algo-1-00008", 1),
        None,
        10,
    )


def test_what_is_answered_in_one_job_is_refused_in_none() -> None:
    """Of the last job, what is left; of all jobs, refusals of records that none has answered. A control is known."""
    control = ShardPiece(SHARDS[0].shard, 2, 2, ".csv", companion=COMPANY)
    now = SearchState.from_rounds(
        [
            (SHARDS, set(SHARDS) - {BAD}, {BAD}),
            ([BAD], set(), {BAD}),
            (PIECES, set(PIECES) - {PIECES[4]}, {PIECES[4]}),
            ([*TOGETHER, control], {TOGETHER[0]}, {TOGETHER[1], control}),
        ]
    )
    assert (now.unanswered, now.last_refused) == (TOGETHER[1:], {TOGETHER[1]})
    assert now.refusal_counts == {BAD: 2, PIECES[4]: 1, TOGETHER[1]: 1}
    assert (now.last_object_count, now.refusing_job_count, TOGETHER[0] in now.answered_pieces) == (
        11,
        4,
        True,
    )


def test_a_shard_of_one_record_is_poison_once_it_was_refused_twice() -> None:
    """There is nothing to cut."""
    lonely = ShardPiece("algo-1-00009", 1, 1, ".csv", is_whole=True)
    assert choose_next_step(build_state([lonely], **answering(SINGLES[0])), BOUNDS) == FurtherJob(
        unchanged=(lonely,), to_split=()
    )
    assert choose_next_step(build_state([lonely], 2, **answering(SINGLES[0])), BOUNDS) == BadRecords(
        (lonely,)
    )
    (together,) = lonely.split(COMPANY)
    further = choose_next_step(build_state([lonely], 2), BOUNDS)
    assert isinstance(further, FurtherJob)
    assert further.pieces[0] == together


def given_up(now: SearchState, bounds: SearchLimits = BOUNDS) -> str:
    """Why no further job follows."""
    step = choose_next_step(now, bounds)
    assert isinstance(step, SearchFailure), step
    return step.reason


def test_a_model_that_answers_nothing_is_not_paid_for_again() -> None:
    """One object of several would have been answered if single records were to blame."""
    nothing = build_state(SHARDS, answered_pieces=set())
    assert "refused all of 10 objects, so it is the model" in given_up(nothing)
    step = choose_next_step(nothing, BOUNDS)
    assert isinstance(step, SearchFailure)
    assert str(step.advice).startswith("Correct the model")
    alone = build_state(SHARDS[:1], answered_pieces=set(), last_object_count=1)
    assert isinstance(choose_next_step(alone, BOUNDS), FurtherJob)


def test_a_job_that_ended_without_refusing_anything_blames_no_record() -> None:
    """The container died, say: which record it was, nobody knows."""
    assert "names no object that was refused" in given_up(
        build_state([PIECES[4]], last_refused=set(), refusing_job_count=2)
    )
    assert (
        "After 4 jobs there are still objects without an answer, 1 in all, the first algo-1-00007.csv"
        in given_up(
            build_state(
                [TOGETHER[0]],
                unanswered=[TOGETHER[0], SHARDS[7]],
                refusing_job_count=4,
                **answering(TOGETHER[1]),
            )
        )
    )


def test_max_rejected_ends_it_as_soon_as_it_cannot_be_kept() -> None:
    """Each object that is cut holds one bad record at least, beside those that preprocessing has rejected."""
    bounds = replace(BOUNDS, max_rejected=12)
    two = build_state(SHARDS[:2], 2)
    assert isinstance(choose_next_step(two, bounds), FurtherJob)
    because = given_up(build_state(SHARDS[:3], 2), bounds)
    assert because == (
        "At least 3 records of 1,000 cannot be scored; with the 10 that preprocessing rejected these are 13 of 1,010, "
        "and max_rejected allows 12. Nothing is published."
    )
    share = replace(BOUNDS, max_rejected=0.012)
    assert "13 of 1,010, and max_rejected allows 1.2%, which is 12" in given_up(
        build_state(TOGETHER[:3], refusing_job_count=4, **answering(TOGETHER[3])), share
    )
    found = choose_next_step(build_state(TOGETHER[:2], refusing_job_count=4, **answering(TOGETHER[3])), share)
    assert found == BadRecords(tuple(TOGETHER[:2]))


def test_a_run_of_which_nothing_is_left_is_no_success() -> None:
    """With or without max_rejected."""
    assert "leaves nothing to publish" in given_up(
        build_state(
            TOGETHER, refusing_job_count=4, **answering(replace(SINGLES[0], shard="x", companion=COMPANY))
        ),
        replace(BOUNDS, records_out=10),
    )


def test_too_many_bad_objects_are_not_tried_one_by_one() -> None:
    """Ten thousand small objects are minutes; more are for a rule."""
    large = [replace(shard, last=4_000_000) for shard in SHARDS]
    assert "would be split into 20,000, and at most 10,000 are tried" in given_up(
        build_state(large, 2, last_object_count=99)
    )


def test_a_further_job_is_paid_for_within_the_budget_only() -> None:
    """A cost that is unknown is not within any budget."""
    assert explain_over_budget(budget=None, spent_dollars=None, job_dollars=None) is None
    assert explain_over_budget(budget=1.0, spent_dollars=0.5, job_dollars=0.5) is None
    assert explain_over_budget(budget=20.0, spent_dollars=15.0, job_dollars=7.5) == (
        "A further job could find the records that the model refuses, but costs about $7.50 besides the $15.00 "
        "already spent, and the budget is $20.00."
    )
    assert explain_over_budget(budget=20.0, spent_dollars=10.0, job_dollars=7.5, join_dollars=2.5) is None
    kept = explain_over_budget(budget=20.0, spent_dollars=10.0, job_dollars=7.5, join_dollars=3.0)
    assert kept is not None
    assert "$10.00 already spent and the $3.00 of the join, and the budget is $20.00" in kept
    unknown = explain_over_budget(budget=20.0, spent_dollars=0.5, job_dollars=None)
    assert unknown is not None
    assert "its cost is unknown and the budget is $20.00: state the price" in unknown
