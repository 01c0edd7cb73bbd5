"""One pipeline file with a mistake is named, and stops no other."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from batch_inference.config.pipeline_files import PIPELINES_FOLDER
from tools import pipelines


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The sample's pipeline, and one before and after it with a misspelt key."""
    text = (PIPELINES_FOLDER / "abalone.yaml").read_text()
    shutil.copy(PIPELINES_FOLDER / "abalone.yaml", tmp_path)
    for name in ("aaa", "zzz"):
        (tmp_path / f"{name}.yaml").write_text(
            text.replace("name: abalone", f"name: {name}").replace("work:", "wrok:")
        )
    return tmp_path


def test_the_others_get_their_buckets_and_what_is_wrong_is_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in `make up` and in docker compose's embedded AWS."""
    prepared: list[str] = []
    monkeypatch.setattr(pipelines, "create_buckets", lambda _, pipeline: prepared.append(pipeline.name))
    monkeypatch.setattr(pipelines, "upload_sample", lambda *_: None)
    client: Any = object()
    pipelines.prepare_buckets(client, folder / "sample", folder)
    assert prepared == ["abalone"]
    said = capsys.readouterr().err
    assert "aaa.yaml" in said
    assert "zzz.yaml" in said
    assert "did you mean" in said


def test_make_check_fails_by_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pipelines.main(folder) == 1
    assert "wrok" in capsys.readouterr().err
    assert pipelines.main() == 0
