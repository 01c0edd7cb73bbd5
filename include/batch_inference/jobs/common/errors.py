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

from typing import Any


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


class PredictionCountError(JoinError):
    """A shard has more or fewer predictions than records.

    Attributes:
        shard: the shard's name.
        records: how many records the shard has.
        predictions: how many predictions were found for them.
        difference: the first record without a prediction, or the first prediction without a record.
    """

    def __init__(self, shard: str, records: int, predictions: int, difference: str) -> None:
        super().__init__(
            f"shard {shard}: {records:,} records but {predictions:,} predictions; {difference}. "
            "Nothing was joined: the model must return exactly one prediction for each record."
        )
        self.shard = shard
        self.records = records
        self.predictions = predictions
        self.difference = difference

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.shard, self.records, self.predictions, self.difference)


class EchoError(JoinError):
    """A prediction echoes another record than the one at its position: predictions are shifted or permuted.

    Attributes:
        shard: the shard's name.
        record: the record's number within the shard, from 1.
        column: the column that the model echoes.
    """

    def __init__(self, shard: str, record: int, column: str, sent: str, echoed: str) -> None:
        super().__init__(
            f"shard {shard}, record {record:,}: {column} is {sent!r}, but its prediction is for {echoed!r}. "
            "Nothing was joined: the predictions are not in the order of the records.",
        )
        self.shard = shard
        self.record = record
        self.column = column
        self._arguments = (shard, record, column, sent, echoed)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._arguments


class PredictionError(JoinError):
    """One prediction of a shard cannot be joined.

    Attributes:
        shard: the shard's name.
        record: the record's number within the shard, from 1.
        problem: what was found.
    """

    def __init__(self, shard: str, record: int, problem: str) -> None:
        super().__init__(f"shard {shard}, record {record:,}: {problem}. This part was not joined.")
        self.shard = shard
        self.record = record
        self.problem = problem

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.shard, self.record, self.problem)
