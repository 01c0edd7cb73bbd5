"""Archives as models and scripts come in."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping


def pack_tar_gz(files: Mapping[str, bytes | str]) -> bytes:
    """A .tar.gz of these files, by name."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return packed.getvalue()
