"""DataProcessing: filter a record, send it, join the prediction to the record, filter again."""

from __future__ import annotations

import csv
import io
import json
import re
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from include.local_aws.runner.settings import RunnerSettings
from include.local_aws.runner.transform.json_path import FilterError, JsonPath
from include.local_aws.runner.transform.plan import TransformPlan

NEWLINE = b"\n"
_CSV_FIELD = r'(?:"(?:[^"]|"")*"|[^",]*)'
_CSV_LINE = re.compile(rf"{_CSV_FIELD}(?:,{_CSV_FIELD})*")


class RecordError(Exception):
    """A record or a prediction cannot be read or joined; its object is lost."""


class Processor(ABC):
    """One format. `before` shapes a record for the model, `after` makes the output of one request."""

    def __init__(self, plan: TransformPlan, settings: RunnerSettings, inference_time: str) -> None:
        """`inference_time` is the job's start, given with every inference id; raises FilterError."""
        inclusive = settings.slice_end == "inclusive"
        self._input = JsonPath(plan.processing.input_filter, inclusive_end=inclusive)
        self._output = JsonPath(plan.processing.output_filter, inclusive_end=inclusive)
        self._join = plan.processing.join
        self._whole = plan.split == "None"
        self._time = inference_time if plan.capture is not None and plan.capture.inference_id else None

    def before(self, record: bytes) -> bytes:
        """Raises RecordError or FilterError."""
        if self._input.identity:
            return record
        end = NEWLINE if record.endswith(NEWLINE) else b""
        return self.write(self._input.apply(self.read(record, "input"))) + end

    def after(self, records: list[bytes], response: bytes) -> bytes:
        """`records` as they came, before the input filter; raises RecordError or FilterError."""
        predictions = [response] if self._whole else self.split(response, len(records))
        if len(predictions) != len(records):
            raise RecordError(
                f"Failed to join predictions to records: {len(records)} records were sent in one request and "
                f"{len(predictions)} predictions came back"
            )
        made = [
            self._one(record, prediction) for record, prediction in zip(records, predictions, strict=True)
        ]
        return NEWLINE.join(made) + (NEWLINE if response.endswith(NEWLINE) and made else b"")

    def _one(self, record: bytes, prediction: bytes) -> bytes:
        value = self.read(prediction, "output")
        if self._join:
            value = self.join(self.read(record, "input"), value)
        if self._time is not None:
            value = self.identify(value, str(uuid.uuid4()), self._time)
        return self.write(self._output.apply(value))

    def split(self, response: bytes, _records: int) -> list[bytes]:
        return response.splitlines()

    @abstractmethod
    def read(self, data: bytes, what: str) -> Any:
        """One record; raises RecordError."""

    @abstractmethod
    def write(self, value: Any) -> bytes:
        """One record, without a newline."""

    @abstractmethod
    def join(self, record: Any, prediction: Any) -> Any: ...

    @abstractmethod
    def identify(self, value: Any, inference_id: str, moment: str) -> Any: ...


class CsvProcessor(Processor):
    """Rows are arrays of cells; a prediction's cells follow the record's."""

    def read(self, data: bytes, what: str) -> list[str]:
        text = _decode(data, what).rstrip("\r\n")
        where = "input" if what == "input" else "output from the algorithm"
        if '"' in text and not _CSV_LINE.fullmatch(text):
            raise RecordError(
                f'Failed to parse {where} as CSV: bare " in non quoted field found near: {text[:100]}'
            )
        return next(csv.reader([text]), [])

    def write(self, value: Any) -> bytes:
        row = value if isinstance(value, list) else [value]
        text = io.StringIO()
        csv.writer(text, lineterminator="").writerow(row)
        return text.getvalue().encode()

    def join(self, record: Any, prediction: Any) -> Any:
        return [*record, *prediction]

    def identify(self, value: Any, inference_id: str, moment: str) -> Any:
        return [*value, inference_id, moment]


class JsonProcessor(Processor):
    """Predictions become the member SageMakerOutput; members come out sorted, as AWS's do."""

    def split(self, response: bytes, records: int) -> list[bytes]:
        # One record a request may be answered by JSON that is written over several lines.
        return [response] if records == 1 else super().split(response, records)

    def read(self, data: bytes, what: str) -> Any:
        where = "input" if what == "input" else "output from the algorithm"
        try:
            return json.loads(_decode(data, what))
        except ValueError as error:
            raise RecordError(f"Failed to parse {where} as JSON: {error}") from error

    def write(self, value: Any) -> bytes:
        return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()

    def join(self, record: Any, prediction: Any) -> Any:
        if isinstance(record, dict):
            return {**record, "SageMakerOutput": prediction}
        return {"SageMakerInput": record, "SageMakerOutput": prediction}

    def identify(self, value: Any, inference_id: str, moment: str) -> Any:
        known = value if isinstance(value, dict) else {"SageMakerOutput": value}
        return {**known, "SageMakerInferenceId": inference_id, "SageMakerInferenceTime": moment}


def processor_for(plan: TransformPlan, settings: RunnerSettings, inference_time: str) -> Processor | None:
    """None when the job neither filters nor joins nor asks for inference ids; raises FilterError.

    A content type that cannot be processed is refused when the job is created; here it raises FilterError too.
    """
    wanted = plan.capture is not None and plan.capture.inference_id
    if not plan.processing.needed and not wanted:
        return None
    kind = (plan.accept or plan.content_type or "").partition(";")[0].strip().lower()
    made: Callable[[TransformPlan, RunnerSettings, str], Processor] | None = {
        "text/csv": CsvProcessor,
        "application/json": JsonProcessor,
        "application/jsonlines": JsonProcessor,
    }.get(kind)
    if made is None:
        raise FilterError(
            f"DataProcessing needs text/csv, application/json or application/jsonlines, the job has {kind!r}"
        )
    return made(plan, settings, inference_time)


def _decode(data: bytes, what: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise RecordError(f"Failed to parse {what} as UTF-8: {error}") from error
