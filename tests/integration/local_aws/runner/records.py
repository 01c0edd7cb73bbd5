"""Records framed as each SplitType wants them, written independently of the runner."""

from __future__ import annotations

import struct


def frame_record(split: str, record: bytes) -> bytes:
    """One record in the middle of an object."""
    if split == "Line":
        return record + b"\n"
    if split == "RecordIO":
        return struct.pack("<II", 0xCED7230A, len(record)) + record + b"\0" * (-len(record) % 4)
    if split == "TFRecord":
        # The checksums are not looked at: any four bytes do.
        return struct.pack("<Q", len(record)) + b"CRC1" + record + b"CRC2"
    raise ValueError(split)


def frame_single_record(split: str, record: bytes) -> bytes:
    """The same record in a request of its own."""
    return frame_record(split, record) if split == "Line" else record


def compute_expected_output(
    split: str, records: list[bytes], *, single: bool, limit: int, assemble_line: bool
) -> bytes:
    """What a model that swaps case should leave for one object: no threads, no streams, no objects."""
    requests: list[bytes] = []
    for record in records:
        body = frame_single_record(split, record) if single else frame_record(split, record)
        if single or not requests or len(requests[-1]) + len(body) > limit:
            requests.append(body)
        else:
            requests[-1] += body
    output = b""
    for request in requests:
        response = request.swapcase()
        output += response
        if assemble_line and not response.endswith(b"\n"):
            output += b"\n"
    return output
