"""Listings of many objects: keys, sizes and ETags, without the 65 µs that botocore's parser takes for each.

botocore still signs, retries, redirects and reads errors. Only the entries of a good answer are taken out of its body
before it is parsed: it builds Python values for a date, an owner and a storage class too, a million times.
"""

from __future__ import annotations

import html
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_plus

from include.scoring.listing import S3Object

EVENT = "before-parse.s3.ListObjectsV2"
#: The member under which the entries come back.
ENTRIES = "SmallEntries"
_asked = threading.local()


def list_objects(client: Any, bucket: str, prefix: str) -> Iterator[S3Object]:
    """The objects below a raw string prefix, in key order, one page of a thousand at a time."""
    # A client that has the handler already keeps one of it.
    client.meta.events.register(EVENT, _take_entries, unique_id="small-entries")
    pages = iter(client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix))
    while (page := _next(pages)) is not None:
        yield from page[ENTRIES]


def _next(pages: Iterator[Any]) -> Any:
    # Other listings of the same client, also at the same time in another thread, are parsed as ever.
    _asked.here = True
    try:
        return next(pages, None)
    finally:
        _asked.here = False


def _take_entries(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    if not getattr(_asked, "here", False) or response_dict["status_code"] != 200:
        return
    text = response_dict["body"].decode()
    encoded = "<EncodingType>url</EncodingType>" in text
    head, *entries = text.split("<Contents>")
    customized_response_dict[ENTRIES] = [_object(entry, encoded) for entry in entries]
    rest = (entry.partition("</Contents>")[2] for entry in entries)
    response_dict["body"] = "".join((head, *rest)).encode()


def _object(entry: str, encoded: bool) -> S3Object:
    key = _unescaped(_between(entry, "<Key>", "</Key>"))
    return S3Object(
        unquote_plus(key) if encoded else key,
        int(_between(entry, "<Size>", "</Size>")),
        _unescaped(_between(entry, "<ETag>", "</ETag>")).strip('"'),
    )


def _between(entry: str, opening: str, closing: str) -> str:
    start = entry.find(opening) + len(opening)
    end = entry.find(closing, start)
    if start < len(opening) or end < 0:
        raise ValueError(f"S3 listed an object without {opening}: {entry!r}")
    return entry[start:end]


def _unescaped(text: str) -> str:
    return html.unescape(text) if "&" in text else text
