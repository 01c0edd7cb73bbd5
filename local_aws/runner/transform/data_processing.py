"""DataProcessing: filter a record, send it, join the prediction to the record, filter again."""

from __future__ import annotations

import csv
import io
import json
import re
import uuid
from abc import ABC, abstractmethod
from typing import Any

from local_aws.runner.runner_settings import RunnerSettings
from local_aws.runner.transform.selection import FilterError, JsonPath
from local_aws.runner.transform.transform_request import DataProcessing, TransformRequest

NEWLINE = b"\n"
PLACES = {"input": "input", "output": "output from the algorithm"}
_CSV_FIELD = r'(?:"(?:[^"]|"")*"|[^",]*)'
_CSV_LINE = re.compile(rf"{_CSV_FIELD}(?:,{_CSV_FIELD})*")


class RecordError(Exception):
    """A record or a prediction cannot be read or joined; its object fails."""


#: What `RecordProcessor` raises.
RECORD_ERRORS: tuple[type[RecordError], type[FilterError]] = (RecordError, FilterError)


class RecordProcessor(ABC):
    """One format. `filter_input` gives the model's input for a record, `build_output` the output of a request."""

    def __init__(self, request: TransformRequest, settings: RunnerSettings, inference_time: str) -> None:
        """`inference_time` is the job's start, given with every inference id; raises FilterError."""
        inclusive = settings.slice_end == "inclusive"
        self._input = JsonPath(request.data_processing.input_filter, inclusive_end=inclusive)
        self._output = JsonPath(request.data_processing.output_filter, inclusive_end=inclusive)
        self._join = request.data_processing.join_input
        self._whole = request.split_type == "None"
        self._time = inference_time if request.needs_inference_id else None

    def filter_input(self, record: bytes) -> bytes:
        """Raises RecordError or FilterError."""
        if self._input.is_identity:
            return record
        end = NEWLINE if record.endswith(NEWLINE) else b""
        return self.serialize_record(self._input.apply(self.parse_record(record, "input"))) + end

    def build_output(self, records: list[bytes], response: bytes) -> bytes:
        """`records` as they came, before the input filter; raises RecordError or FilterError."""
        predictions = [response] if self._whole else self.split_response(response, len(records))
        if len(predictions) != len(records):
            raise RecordError(
                f"Failed to join predictions to records: {len(records)} records were sent in one request and "
                f"{len(predictions)} predictions came back"
            )
        outputs = [
            self._build_output_record(record, prediction)
            for record, prediction in zip(records, predictions, strict=True)
        ]
        return NEWLINE.join(outputs) + (NEWLINE if response.endswith(NEWLINE) and outputs else b"")

    def _build_output_record(self, record: bytes, prediction: bytes) -> bytes:
        value = self.parse_record(prediction, "output")
        if self._join:
            value = self.join(self.parse_record(record, "input"), value)
        if self._time is not None:
            value = self.add_inference_id(value, str(uuid.uuid4()), self._time)
        return self.serialize_record(self._output.apply(value))

    def split_response(self, response: bytes, _records: int) -> list[bytes]:
        return response.splitlines()

    @abstractmethod
    def parse_record(self, data: bytes, source: str) -> Any:
        """One record; raises RecordError."""

    @abstractmethod
    def serialize_record(self, value: Any) -> bytes:
        """One record, without a newline."""

    @abstractmethod
    def join(self, record: Any, prediction: Any) -> Any: ...

    @abstractmethod
    def add_inference_id(self, value: Any, inference_id: str, inference_time: str) -> Any: ...


class CsvRecordProcessor(RecordProcessor):
    """Rows are arrays of cells; a prediction's cells follow the record's."""

    def parse_record(self, data: bytes, source: str) -> list[str]:
        text = _decode(data, source).rstrip("\r\n")
        if '"' in text and not _CSV_LINE.fullmatch(text):
            raise RecordError(
                f'Failed to parse {PLACES[source]} as CSV: bare " in non quoted field found near: {text[:100]}'
            )
        return next(csv.reader([text]), [])

    def serialize_record(self, value: Any) -> bytes:
        row = value if isinstance(value, list) else [value]
        text = io.StringIO()
        csv.writer(text, lineterminator="").writerow(row)
        return text.getvalue().encode()

    def join(self, record: Any, prediction: Any) -> Any:
        return [*record, *prediction]

    def add_inference_id(self, value: Any, inference_id: str, inference_time: str) -> Any:
        return [*value, inference_id, inference_time]


class JsonRecordProcessor(RecordProcessor):
    """Predictions become the member SageMakerOutput; members come out sorted, as AWS's do."""

    def split_response(self, response: bytes, records: int) -> list[bytes]:
        # One record a request may be answered by JSON that is written over several lines.
        return [response] if records == 1 else super().split_response(response, records)

    def parse_record(self, data: bytes, source: str) -> Any:
        try:
            return json.loads(_decode(data, source))
        except ValueError as error:
            raise RecordError(f"Failed to parse {PLACES[source]} as JSON: {error}") from error

    def serialize_record(self, value: Any) -> bytes:
        return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()

    def join(self, record: Any, prediction: Any) -> Any:
        if isinstance(record, dict):
            return {**record, "SageMakerOutput": prediction}
        return {"SageMakerInput": record, "SageMakerOutput": prediction}

    def add_inference_id(self, value: Any, inference_id: str, inference_time: str) -> Any:
        known = value if isinstance(value, dict) else {"SageMakerOutput": value}
        return {**known, "SageMakerInferenceId": inference_id, "SageMakerInferenceTime": inference_time}


def create_processor(
    request: TransformRequest, settings: RunnerSettings, inference_time: str
) -> RecordProcessor | None:
    """None when the job neither filters nor joins nor asks for inference ids; raises FilterError.

    A content type that cannot be processed is refused when the job is created; here it raises FilterError too.
    """
    if request.data_processing == DataProcessing() and not request.needs_inference_id:
        return None
    kind = (request.accept or request.content_type or "").partition(";")[0].strip().lower()
    processor_class: type[RecordProcessor] | None = {
        "text/csv": CsvRecordProcessor,
        "application/json": JsonRecordProcessor,
        "application/jsonlines": JsonRecordProcessor,
    }.get(kind)
    if processor_class is None:
        raise FilterError(
            f"DataProcessing needs text/csv, application/json or application/jsonlines, the job has {kind!r}"
        )
    return processor_class(request, settings, inference_time)


def _decode(data: bytes, what: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise RecordError(f"Failed to parse {what} as UTF-8: {error}") from error
