"""Errors of the jobs, with messages for the person who reads a failed run.

JobError
├── ConfigError        the configuration is invalid, or cannot be met here
├── FunctionError      the user's function failed, or returned something invalid
├── InputError         an input object is not as configured
└── JoinError          records and predictions cannot be joined
    ├── PredictionCountError   their counts differ
    ├── EchoError              a prediction belongs to another record
    └── PredictionError        a prediction is blank, null or not of its type
"""

from __future__ import annotations

from dataclasses import dataclass


class JobError(Exception):
    """Base class; messages say what was found, where, what is allowed and what to do."""


class ConfigError(JobError):
    """The configuration is invalid, or cannot be met in this container."""


class FunctionError(JobError):
    """The user's function failed, or returned something invalid."""


class InputError(JobError):
    """An input object is not as configured."""


class JoinError(JobError):
    """Records and predictions of a shard cannot be joined."""


@dataclass(eq=False)
class PredictionCountError(JoinError):
    """A shard has more or fewer predictions than records.

    `difference` is the first record without a prediction, or the first prediction without a record.
    """

    shard: str
    records: int
    predictions: int
    first_difference: str

    def __str__(self) -> str:
        return (
            f"shard {self.shard}: {self.records:,} records but {self.predictions:,} predictions; "
            f"{self.first_difference}. Nothing was joined: the model must return exactly one prediction for each "
            "record."
        )


@dataclass(eq=False)
class EchoError(JoinError):
    """A prediction echoes another record than the one at its position: predictions are shifted or permuted.

    `record` is the record's number within the shard, from 1; `sent` is its text in `column`, and `echoed` the
    prediction's.
    """

    shard: str
    record: int
    column: str
    sent: str
    echoed: str

    def __str__(self) -> str:
        return (
            f"shard {self.shard}, record {self.record:,}: {self.column} is {self.sent!r}, but its prediction is for "
            f"{self.echoed!r}. Nothing was joined: the predictions are not in the order of the records."
        )


@dataclass(eq=False)
class PredictionError(JoinError):
    """One prediction of a shard cannot be joined; `record` is the record's number within the shard, from 1."""

    shard: str
    record: int
    problem: str

    def __str__(self) -> str:
        return f"shard {self.shard}, record {self.record:,}: {self.problem}. This part was not joined."
