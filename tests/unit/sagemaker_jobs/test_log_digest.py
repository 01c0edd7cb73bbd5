"""A job's log in thirty lines: why, and each traceback once."""

from __future__ import annotations

import pytest

from sagemaker_jobs.failure.log_digest import MAX_LINES, digest_logs

TRACEBACK = [
    "Traceback (most recent call last):",
    '  File "/usr/lib/python3.9/site-packages/flask/app.py", line 86, in dispatch',
    "    response = call()",
    '  File "/opt/ml/code/inference.py", line 12, in predict_fn',
    '    raise ValueError("negative age")',
    "ValueError: negative age -1",
]


def test_a_traceback_is_shown_once_and_its_last_line_and_place_are_the_cause():
    """Whatever stream, request or object it stands in."""
    answers = [
        f"2026-01-05T10:00:0{number}.000:[sagemaker logs]: bucket/in/{number}.csv: {text}"
        for number in range(3)
        for text in (
            "Bad HTTP status received from algorithm: 500",
            "Message:",
            "ValueError: negative age -7",
        )
    ]
    access = '10.0.0.1 - - [05/Jan/2026:10:00:00 +0000] "POST /invocations HTTP/1.1" 500 27'
    tails = {"job/a": ["starting", *[*TRACEBACK, access] * 6], "job/b": TRACEBACK, "job/a/data-log": answers}
    digest = digest_logs(tails)
    assert digest.cause == "ValueError: negative age -1 (inference.py, line 12, in predict_fn)"
    assert list(digest.lines) == [
        "starting", *TRACEBACK, "… 6 times more", access, "… 5 times more",
        "…/0.csv: Bad HTTP status received from algorithm: 500", "… 2 times more",
        "…/0.csv: ValueError: negative age -7", "… 2 times more",
    ]  # fmt: skip


def test_the_cause_is_kept_when_a_hundred_other_lines_follow():
    """And a line says how many are left out."""
    noise = [f"step {'abcdefghij'[at % 10] * (at // 10 + 1)}" for at in range(100)]
    digest = digest_logs({"job/a": [*TRACEBACK, *noise]})
    assert len(digest.lines) == MAX_LINES
    assert digest.lines[0] == "… 77 lines before"
    assert digest.lines[1:7] == tuple(TRACEBACK)
    assert digest.lines[-1] == noise[-1]


def test_a_traceback_that_is_longer_than_all_keeps_its_end():
    """The error, and the frames before it."""
    deep = [
        TRACEBACK[0],
        *[f'  File "/opt/ml/code/x.py", line 1, in f{"x" * at}' for at in range(90)],
        "KeyError: 'a'",
    ]
    digest = digest_logs({"job/a": deep})
    assert len(digest.lines) <= MAX_LINES
    assert (digest.lines[0], digest.lines[-1]) == (TRACEBACK[0], "KeyError: 'a'")
    assert digest.cause is not None
    assert digest.cause.startswith("KeyError: 'a' (x.py, line 1")


@pytest.mark.parametrize(
    ("lines", "cause"),
    [
        (
            ["reading", "InputError: s3://b/x.csv: the header has no column 'age'"],
            "InputError: s3://b/x.csv: the header",
        ),
        (["ok", "could not convert string to float: 'a'", "bye"], "could not convert string to float"),
        (["b/in/x.csv: nothing", "RuntimeError", "exit"], "RuntimeError"),
        (
            ["2026-01-05T10:00:00.000:[sagemaker logs]: b/in/x.csv: ValueError: bad"],
            "ValueError: bad (object x.csv)",
        ),
        (["reading", "done"], None),
        ([], None),
    ],
)
def test_without_a_traceback_the_cause_is_a_line_of_a_known_reason_or_of_an_error(
    lines: list[str], cause: str | None
):
    """Nothing is made up."""
    found = digest_logs({"job/a": lines}).cause
    assert found is None if cause is None else str(found).startswith(cause)
