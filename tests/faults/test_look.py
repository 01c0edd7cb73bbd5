"""The suite's shared look at Airflow: nobody is given what was true before somebody changed it."""

from __future__ import annotations

from tests.faults.suite import CachedQuery


def test_an_answer_that_was_on_its_way_when_it_was_forgotten_is_not_given_to_anybody() -> None:
    """A person clears a run while another thread asks for the states of all runs."""
    state = ["success"]

    def ask() -> str:
        found = state[0]
        if found == "success":
            # Meanwhile somebody clears the run.
            state[0] = "queued"
            look.invalidate()
        return found

    look = CachedQuery(ask, seconds=3600)
    assert look.get() == "success"
    assert look.get() == "queued"


def test_many_who_look_share_an_answer() -> None:
    """It is asked for once."""
    answers = iter(range(10))
    look = CachedQuery(lambda: next(answers), seconds=3600)
    assert [look.get(), look.get()] == [0, 0]
    look.invalidate()
    assert [look.get(), look.get()] == [1, 1]
