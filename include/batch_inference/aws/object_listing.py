"""Listings of many objects: keys, sizes and ETags, without the 65 µs that botocore's parser takes for each.

botocore still signs, retries, redirects and reads errors. Only the entries of a successful response are cut out of its
body before it is parsed: botocore would also build a date, an owner and a storage class for each of a million objects.
"""

from __future__ import annotations

import html
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_plus

from batch_inference.planning.inputs.input_listing import S3Object

PARSE_EVENT = "before-parse.s3.ListObjectsV2"
#: The key of the entries in the parsed response.
ENTRIES_KEY = "SmallEntries"
_thread_state = threading.local()


def list_objects(client: Any, bucket: str, prefix: str) -> Iterator[S3Object]:
    """The objects below a raw string prefix, in key order, one page of a thousand at a time."""
    # unique_id: a client has the handler once.
    client.meta.events.register(PARSE_EVENT, _take_entries, unique_id="small-entries")
    pages = iter(client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix))
    while (page := _next_page(pages)) is not None:
        yield from page[ENTRIES_KEY]


def _next_page(pages: Iterator[Any]) -> Any:
    # Other listings of the same client, also at the same time in another thread, are parsed by botocore.
    _thread_state.here = True
    try:
        return next(pages, None)
    finally:
        _thread_state.here = False


def _take_entries(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    if not getattr(_thread_state, "here", False) or response_dict["status_code"] != 200:
        return
    text = response_dict["body"].decode()
    encoded = "<EncodingType>url</EncodingType>" in text
    head, *entries = text.split("<Contents>")
    customized_response_dict[ENTRIES_KEY] = [_parse_entry(entry, encoded) for entry in entries]
    rest = (entry.partition("</Contents>")[2] for entry in entries)
    response_dict["body"] = "".join((head, *rest)).encode()


def _parse_entry(entry: str, is_url_encoded: bool) -> S3Object:
    key = _unescape(_cut_out(entry, "<Key>", "</Key>"))
    return S3Object(
        unquote_plus(key) if is_url_encoded else key,
        int(_cut_out(entry, "<Size>", "</Size>")),
        _unescape(_cut_out(entry, "<ETag>", "</ETag>")).strip('"'),
    )


def _cut_out(entry: str, opening: str, closing: str) -> str:
    start = entry.find(opening) + len(opening)
    end = entry.find(closing, start)
    if start < len(opening) or end < 0:
        raise ValueError(f"S3 listed an object without {opening}: {entry!r}")
    return entry[start:end]


def _unescape(text: str) -> str:
    return html.unescape(text) if "&" in text else text
