"""A file is uploaded while it is written: the object is the whole file, or there is none."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import pytest

from batch_inference.aws.s3 import Storage
from batch_inference.aws.streaming_upload import upload_while_writing

MB = 1 << 20


@pytest.mark.parametrize("size", [0, 1, 5 * MB, 33 * MB + 7])
def test_what_is_written_piece_by_piece_arrives_whole(storage: Storage, tmp_path: Path, size: int) -> None:
    """Also where nothing is written at all, and where the writer pauses in the middle of a part."""
    draw = random.Random(size)
    content = draw.randbytes(size)
    path, uri = tmp_path / "part", f"s3://bucket/streamed-{size}"
    with upload_while_writing(storage, uri, path), path.open("wb") as file:
        at = 0
        while at < size:
            step = draw.randrange(1, 6 * MB)
            file.write(content[at : at + step])
            at += step
            if draw.random() < 0.3:
                file.flush()
                time.sleep(0.05)
    assert storage.read(uri) == content


def test_a_file_that_is_whole_and_renamed_at_once_arrives_too(storage: Storage, tmp_path: Path) -> None:
    """A small join ends before the upload has looked for its file."""
    for number in range(20):
        first, then, uri = (
            tmp_path / "part.partial",
            tmp_path / f"part-{number}",
            f"s3://bucket/renamed-{number}",
        )
        with upload_while_writing(storage, uri, first, then):
            first.write_bytes(b"content")
            first.replace(then)
        assert storage.read(uri) == b"content"


def test_a_file_that_was_never_written_is_no_empty_object(storage: Storage, tmp_path: Path) -> None:
    with (
        pytest.raises(FileNotFoundError),
        upload_while_writing(storage, "s3://bucket/never", tmp_path / "part"),
    ):
        pass
    assert storage.list_uris("s3://bucket/never") == []


def test_parts_are_sent_before_the_last_byte_is_written(storage: Storage, tmp_path: Path) -> None:
    """Reading from the file and sending overlap with its writing."""
    path, uri, begun = tmp_path / "part", "s3://bucket/overlapped", threading.Event()
    storage.client.meta.events.register("before-call.s3.UploadPart", lambda **_: begun.set())
    with upload_while_writing(storage, uri, path), path.open("wb") as file:
        file.write(bytes(20 * MB))
        file.flush()
        assert begun.wait(20)
        file.write(b"end")
    assert storage.read(uri)[-4:] == b"\x00end"


@pytest.mark.parametrize("written", [0, 5, 20 * MB])
def test_a_writer_that_fails_leaves_no_object_and_no_half_upload(
    storage: Storage, tmp_path: Path, written: int
) -> None:
    """S3 bills the parts of an upload that is never ended."""
    path, uri = tmp_path / "part", f"s3://bucket/failed-{written}"

    def fails() -> None:
        with upload_while_writing(storage, uri, path), path.open("wb") as file:
            file.write(bytes(written))
            file.flush()
            time.sleep(0.1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert storage.list_uris("s3://bucket/failed-") == []
    assert storage.client.list_multipart_uploads(Bucket="bucket").get("Uploads", []) == []


def test_an_upload_that_fails_fails_the_writer(storage: Storage, tmp_path: Path) -> None:
    path = tmp_path / "part"
    with (
        pytest.raises(Exception, match="NoSuchBucket"),
        upload_while_writing(storage, "s3://no-such-bucket/part", path),
    ):
        path.write_bytes(b"content")
