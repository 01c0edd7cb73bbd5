"""JSON documents one behind the other, as Batch Transform leaves them when each request is answered by one.

`{"predictions": [...]}`, an array, or a single value for each request; with or without anything between them.
"""

from __future__ import annotations

import codecs
import json
from typing import IO, Any, Iterator

from include.jobs.json_reading import NotAllowedError, decode_document

READ_BYTES = 1 << 20
PREDICTIONS = "predictions"
_SPACE = " \t\r\n"


class NotJsonError(Exception):
    """The file stops being JSON; the text says after how many answers and how it goes on."""


def answers(file: IO[bytes]) -> Iterator[Any]:
    """Each answer of the file, in order; raises NotJsonError. Memory is that of the largest document."""
    count = 0
    for document in documents(file):
        if isinstance(document, dict) and isinstance(document.get(PREDICTIONS), list):
            document = document[PREDICTIONS]
        for answer in document if isinstance(document, list) else (document,):
            count += 1
            yield answer


def documents(file: IO[bytes]) -> Iterator[Any]:
    """Each JSON document of the file; raises NotJsonError."""
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
            raise NotJsonError(f"behind {found:,} documents the file is not UTF-8: {error}") from error
        at = 0
        while True:
            while at < len(text) and text[at] in _SPACE:
                at += 1
            if at == len(text):
                break
            try:
                document, end = decode_document(text, at)
            except NotAllowedError as error:
                raise NotJsonError(
                    f"behind {found:,} documents the file has one that is not read: {error}"
                ) from error
            except json.JSONDecodeError as error:
                if over:
                    start = text[at : at + 60]
                    raise NotJsonError(
                        f"behind {found:,} documents the file goes on with {start!r}: {error}"
                    ) from error
                break
            if end == len(text) and not over and not isinstance(document, (dict, list)):
                break  # a number may go on in what is not yet read
            found += 1
            at = end
            yield document
        text = text[at:]
        if over:
            return
        wanted = max(READ_BYTES, len(text))  # a document longer than what was read: twice as much each time
