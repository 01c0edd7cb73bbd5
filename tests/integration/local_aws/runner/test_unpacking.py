"""Archives: what may be in them, and how much."""

from __future__ import annotations

import gzip
import io
import tarfile
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from local_aws.runner.data.unpacking import ArchiveTooLargeError, unpack_tar_gz

MIB = 1024 * 1024


def packed(fill: Callable[[tarfile.TarFile], None], *, form: int = tarfile.PAX_FORMAT) -> bytes:
    """A .tar.gz; without the time, since pytest names cases by it, and has to name them alike in every worker."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=form) as archive:
        fill(archive)
    return gzip.compress(target.getvalue(), mtime=0)


def member(name: str, *, kind: bytes = tarfile.REGTYPE, target: str = "", size: int = 0) -> bytes:
    """An archive of one member."""

    def fill(archive: tarfile.TarFile) -> None:
        each = tarfile.TarInfo(name)
        each.type, each.linkname, each.size = kind, target, size
        archive.addfile(each, io.BytesIO(bytes(size)))

    return packed(fill)


def pieces(data: bytes) -> list[bytes]:
    """As they come from S3."""
    return [data[at : at + 4096] for at in range(0, len(data), 4096)]


@pytest.mark.parametrize(
    "archive",
    [
        member("/etc/absolute", size=1),
        member("../outside", size=1),
        member("a/../../outside", size=1),
        member("link", kind=tarfile.SYMTYPE, target="../outside"),
        member("link", kind=tarfile.SYMTYPE, target="/etc/passwd"),
        member("link", kind=tarfile.LNKTYPE, target="../outside"),
        member("pipe", kind=tarfile.FIFOTYPE),
        member("disk", kind=tarfile.BLKTYPE),
        member("terminal", kind=tarfile.CHRTYPE),
    ],
)
def test_what_is_not_a_file_of_the_folder_is_refused(tmp_path: Path, archive: bytes) -> None:
    """Nothing is written outside; an absolute path loses its root, as with tar itself."""
    folder = tmp_path / "model"
    folder.mkdir()
    if b"absolute" in gzip.decompress(archive):
        unpack_tar_gz(pieces(archive), folder, MIB)
        assert [path.name for path in folder.rglob("*")] == ["etc", "absolute"]
    else:
        with pytest.raises(tarfile.FilterError):
            unpack_tar_gz(pieces(archive), folder, MIB)
        assert list(folder.iterdir()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_links_within_the_folder_and_modes_are_kept(tmp_path: Path) -> None:
    """A folder without the right to write still gets its files: modes come last."""

    def fill(archive: tarfile.TarFile) -> None:
        for name, kind, mode in (("d", tarfile.DIRTYPE, 0o555), ("d/f", tarfile.REGTYPE, 0o644)):
            each = tarfile.TarInfo(name)
            each.type, each.mode = kind, mode
            archive.addfile(each)
        link = tarfile.TarInfo("l")
        link.type, link.linkname = tarfile.SYMTYPE, "d/f"
        archive.addfile(link)

    unpack_tar_gz(pieces(packed(fill)), tmp_path, MIB)
    assert (tmp_path / "l").resolve() == tmp_path / "d" / "f"


def test_a_small_archive_that_is_large_unpacked_is_given_up_at_the_limit(tmp_path: Path) -> None:
    """64 MiB of zeros in some 64 kB: no more than the limit is written, and little is held in memory."""
    archive = member("zeros", size=64 * MIB)
    assert len(archive) < 100_000
    tracemalloc.start()
    try:
        with pytest.raises(
            ArchiveTooLargeError, match=r"more than 2,097,152 bytes.*runner.unpacked_archive_mb"
        ):
            unpack_tar_gz(pieces(archive), tmp_path, 2 * MIB)
        assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    finally:
        tracemalloc.stop()
    assert sum(path.stat().st_size for path in tmp_path.rglob("*")) <= 2 * MIB


def test_holes_and_headers_count_as_well(tmp_path: Path) -> None:
    """A sparse file has its holes nowhere in the archive; a header may be as long as a file."""
    sparse = io.BytesIO()
    with gzip.open(sparse, "wb") as out:
        header = bytearray(tarfile.TarInfo("hole").tobuf(tarfile.GNU_FORMAT))
        header[156:157] = tarfile.GNUTYPE_SPARSE
        header[386:398] = header[398:410] = b"00000000000\0"
        header[483:495] = b"%011o\0" % (1 << 33)  # what it is with its holes
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
        out.write(bytes(header) + bytes(1024))
    with pytest.raises(ArchiveTooLargeError):
        unpack_tar_gz(pieces(sparse.getvalue()), tmp_path, 2 * MIB)
    assert list(tmp_path.iterdir()) == []

    def fill(archive: tarfile.TarFile) -> None:
        each = tarfile.TarInfo("x")
        each.pax_headers = {"comment": "x" * 3 * MIB}
        archive.addfile(each)

    with pytest.raises(ArchiveTooLargeError):
        unpack_tar_gz(pieces(packed(fill)), tmp_path, 2 * MIB)


@pytest.mark.parametrize(
    "data", [b"", b"this is no archive", gzip.compress(b"nor this", mtime=0), member("x", size=9)[:60]]
)
def test_what_is_not_a_whole_archive_is_an_error(tmp_path: Path, data: bytes) -> None:
    """Cut off, empty, or something else."""
    with pytest.raises((tarfile.TarError, zlib.error, EOFError)):
        unpack_tar_gz(pieces(data), tmp_path, MIB)
