"""What can go wrong inside a job, in words for the person who reads a failed run.

JobError
├── ConfigError        the job was asked for something impossible
├── FunctionError      the user's own function failed, or gave what it must not give
├── InputError         an input object is not what the pipeline says it is
└── JoinError          records and predictions cannot be put together
    ├── AssociationError   their counts differ
    ├── EchoError          a prediction is another record's
    └── PredictionError    one prediction is blank, null or not what was announced
"""

from __future__ import annotations

from typing import Any


class JobError(Exception):
    """A failure whose message is meant for people: what was found, where, what is allowed, what to do."""


class ConfigError(JobError):
    """The job's configuration cannot be carried out."""


class FunctionError(JobError):
    """The user's own function failed, or gave what it must not give."""


class InputError(JobError):
    """An input object is not what the configuration says it is."""


class JoinError(JobError):
    """Records and predictions of a shard cannot be put together."""


class AssociationError(JoinError):
    """A shard has more or fewer predictions than records.

    Attributes:
        shard: the shard's name.
        records: how many records the shard has.
        predictions: how many predictions were found for them.
        difference: the first place where the two sides part, in words.
    """

    def __init__(self, shard: str, records: int, predictions: int, difference: str) -> None:
        super().__init__(
            f"shard {shard}: {records:,} records but {predictions:,} predictions; {difference}. "
            "Nothing was joined: the model must answer exactly one prediction a record."
        )
        self.shard = shard
        self.records = records
        self.predictions = predictions
        self.difference = difference

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.shard, self.records, self.predictions, self.difference)


class EchoError(JoinError):
    """A prediction echoes another record than the one that it stands beside: the answers are shifted or permuted.

    Attributes:
        shard: the shard's name.
        record: the record's number within the shard, from 1.
        column: the column that the model echoes.
    """

    def __init__(self, shard: str, record: int, column: str, sent: str, echoed: str) -> None:
        super().__init__(
            f"shard {shard}, record {record:,}: {column} is {sent!r}, but the prediction beside it is for {echoed!r}. "
            "Nothing was joined: the answers are not in the order of the records.",
        )
        self.shard = shard
        self.record = record
        self.column = column
        self._said = (shard, record, column, sent, echoed)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._said


class PredictionError(JoinError):
    """One prediction of a shard cannot be joined.

    Attributes:
        shard: the shard's name.
        record: the record's number within the shard, from 1.
        problem: what was found, in words.
    """

    def __init__(self, shard: str, record: int, problem: str) -> None:
        super().__init__(f"shard {shard}, record {record:,}: {problem}. Nothing of this group was joined.")
        self.shard = shard
        self.record = record
        self.problem = problem

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.shard, self.record, self.problem)
