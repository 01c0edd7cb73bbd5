"""What follows a transform that failed because of some of its objects."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from include.scoring.pieces import Piece
from include.scoring.poison import Bounds, Found, Further, GiveUp, Situation, decide, over_budget

SHARDS = [Piece(f"algo-1-{number:05d}", 1, 100, ".csv", whole=True) for number in range(10)]
BAD = SHARDS[3]
PIECES = list(BAD.cut())
SINGLES = list(PIECES[4].cut())
BOUNDS = Bounds(records_in=1_010, records_out=1_000, rejected=10, max_rejected=None)


def situation(refused: Collection[Piece], times: int = 1, /, **changes: Any) -> Situation:
    """The last job has refused these, which have been refused so many times, and answered the others it was given."""
    made = Situation(
        left=list(refused),
        given=10,
        refused=dict.fromkeys(refused, times),
        refused_now=set(refused),
        answered=True,
        jobs=times,
    )
    return replace(made, **changes)


def test_an_object_that_was_refused_once_is_sent_once_more() -> None:
    """It may have been by chance."""
    assert decide(situation([BAD]), BOUNDS) == Further(again=(BAD,), cut=())


def test_an_object_that_was_refused_twice_is_cut() -> None:
    """Into about as many pieces as each then has records; what was not reached goes along as it is."""
    further = decide(situation([BAD], 2, left=[BAD, SHARDS[7]]), BOUNDS)
    assert further == Further(again=(SHARDS[7],), cut=(BAD,))
    assert (further.objects, further.records) == (11, 200)
    assert further.sentence() == (
        "A further job takes 1 object as before and 1 object cut into 10, 200 records in all."
    )


def test_a_refused_piece_is_cut_into_its_records() -> None:
    """One refusal is enough: its shard was refused twice."""
    assert decide(situation([PIECES[4]], jobs=3), BOUNDS) == Further(again=(), cut=(PIECES[4],))


def test_single_records_that_are_refused_are_the_poison() -> None:
    """Also those of an earlier round, while the last one was about others; in order."""
    earlier = Piece("algo-1-00001", 7, 7, ".csv")
    found = decide(situation([SINGLES[2]], refused={SINGLES[2]: 1, earlier: 1, PIECES[4]: 1}, jobs=4), BOUNDS)
    assert found == Found((earlier, SINGLES[2]))


def test_a_shard_of_one_record_is_poison_once_it_was_refused_twice() -> None:
    """There is nothing to cut."""
    lonely = Piece("algo-1-00009", 1, 1, ".csv", whole=True)
    assert decide(situation([lonely]), BOUNDS) == Further(again=(lonely,), cut=())
    assert decide(situation([lonely], 2), BOUNDS) == Found((lonely,))


def given_up(now: Situation, bounds: Bounds = BOUNDS) -> str:
    """Why no further job follows."""
    step = decide(now, bounds)
    assert isinstance(step, GiveUp), step
    return step.because


def test_a_model_that_answers_nothing_is_not_paid_for_again() -> None:
    """One object of several would have been answered if single records were to blame."""
    nothing = situation(SHARDS, answered=False)
    assert "refused all of 10 objects, so it is the model" in given_up(nothing)
    alone = situation(SHARDS[:1], answered=False, given=1)
    assert isinstance(decide(alone, BOUNDS), Further)


def test_a_job_that_ended_without_refusing_anything_blames_no_record() -> None:
    """The container died, say: which record it was, nobody knows."""
    assert "names no object that was refused" in given_up(situation([PIECES[4]], refused_now=set(), jobs=2))
    assert (
        "After 4 jobs there are still objects without an answer, 1 in all, the first algo-1-00007.csv"
        in given_up(situation([SINGLES[0]], left=[SINGLES[0], SHARDS[7]], jobs=4))
    )


def test_max_rejected_ends_it_as_soon_as_it_cannot_be_kept() -> None:
    """Each object that is cut holds one bad record at least, beside those that preprocessing has rejected."""
    bounds = replace(BOUNDS, max_rejected=12)
    two = situation(SHARDS[:2], 2)
    assert isinstance(decide(two, bounds), Further)
    because = given_up(situation(SHARDS[:3], 2), bounds)
    assert because == (
        "At least 3 records of 1,000 cannot be scored; with the 10 that preprocessing rejected these are 13 of 1,010, "
        "and max_rejected allows 12. Nothing is published."
    )
    share = replace(BOUNDS, max_rejected=0.012)
    assert "13 of 1,010, and max_rejected allows 1.20%, which is 12" in given_up(
        situation(SINGLES[:3], jobs=4), share
    )
    assert decide(situation(SINGLES[:2], jobs=4), share) == Found(tuple(SINGLES[:2]))


def test_a_run_of_which_nothing_is_left_is_no_success() -> None:
    """With or without max_rejected."""
    assert "leaves nothing to publish" in given_up(
        situation(SINGLES, jobs=4), replace(BOUNDS, records_out=10)
    )


def test_too_many_bad_objects_are_not_tried_one_by_one() -> None:
    """Ten thousand small objects are minutes; more are for a rule."""
    large = [replace(shard, last=4_000_000) for shard in SHARDS]
    assert "would be cut into 20,000, and at most 10,000 are tried" in given_up(situation(large, 2, given=99))


def test_a_further_job_is_paid_for_within_the_budget_only() -> None:
    """A cost that is unknown is not within any budget."""
    assert over_budget(budget=None, spent=None, further=None) is None
    assert over_budget(budget=1.0, spent=0.5, further=0.5) is None
    assert over_budget(budget=20.0, spent=15.0, further=7.5) == (
        "A further job could find the records that the model refuses, but it would cost about $7.50 beside the $15.00 "
        "already spent, and the budget is $20.00."
    )
    assert over_budget(budget=20.0, spent=10.0, further=7.5, join=2.5) is None
    kept = over_budget(budget=20.0, spent=10.0, further=7.5, join=3.0)
    assert kept is not None
    assert "$10.00 already spent and the $3.00 of the join, and the budget is $20.00" in kept
    unknown = over_budget(budget=20.0, spent=0.5, further=None)
    assert unknown is not None
    assert "its cost is unknown and the budget is $20.00: state the price" in unknown
