"""Reads a stream of JSON documents, one for each request of Batch Transform.

Each is `{"predictions": [...]}`, an array, or a single value; with or without white space between them.
"""

from __future__ import annotations

import codecs
import json
from typing import IO, Any, Iterator

from batch_inference.jobs.common.json_reading import UnsupportedJsonError, decode_document

READ_BYTES = 1 << 20
PREDICTIONS_KEY = "predictions"
_WHITE_SPACE = " \t\r\n"


class NotJsonError(Exception):
    """The file is not JSON from some point on; the message has the number of documents before, and the text there."""


def iter_predictions(file: IO[bytes]) -> Iterator[Any]:
    """Iterate over the predictions of the file. Raises NotJsonError. Memory is that of the largest document."""
    count = 0
    for document in iter_documents(file):
        if isinstance(document, dict) and isinstance(document.get(PREDICTIONS_KEY), list):
            document = document[PREDICTIONS_KEY]
        for prediction in document if isinstance(document, list) else (document,):
            count += 1
            yield prediction


def iter_documents(file: IO[bytes]) -> Iterator[Any]:
    """Iterate over the JSON documents of the file. Raises NotJsonError."""
    decoder = codecs.getincrementaldecoder("utf-8")("strict")
    text = ""
    wanted = READ_BYTES
    found = 0
    while True:
        data = file.read(wanted)
        over = not data
        try:
            text += decoder.decode(data, final=over)
        except UnicodeDecodeError as error:
            raise NotJsonError(f"after {found:,} documents the file is not UTF-8: {error}") from error
        at = 0
        while True:
            while at < len(text) and text[at] in _WHITE_SPACE:
                at += 1
            if at == len(text):
                break
            try:
                document, end = decode_document(text, at)
            except UnsupportedJsonError as error:
                raise NotJsonError(
                    f"after {found:,} documents the file has one that is not supported: {error}"
                ) from error
            except json.JSONDecodeError as error:
                if over:
                    start = text[at : at + 60]
                    raise NotJsonError(
                        f"after {found:,} documents the file goes on with {start!r}: {error}"
                    ) from error
                break
            if end == len(text) and not over and not isinstance(document, (dict, list)):
                break  # a number may continue in bytes not read yet
            found += 1
            at = end
            yield document
        text = text[at:]
        if over:
            return
        wanted = max(READ_BYTES, len(text))  # double the bytes read for a longer document
