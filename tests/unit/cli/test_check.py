"""One pipeline file with a mistake is named, and stops no other."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from batch_inference.cli.laptop import sample
from batch_inference.cli.main import main
from tests.unit.builders import EXAMPLE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The sample's pipeline, and one before and after it with a misspelt key."""
    text = EXAMPLE.read_text()
    shutil.copy(EXAMPLE, tmp_path)
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
    monkeypatch.setattr(sample, "create_buckets_and_role", lambda _, pipeline: prepared.append(pipeline.name))
    monkeypatch.setattr(sample, "upload_sample", lambda *_, **__: None)
    client: Any = object()
    sample.prepare_buckets(client, folder / "sample", folder)
    assert prepared == ["abalone"]
    said = capsys.readouterr().err
    assert "aaa.yaml" in said
    assert "zzz.yaml" in said
    assert "did you mean" in said


def test_the_command_fails_by_it_and_names_each_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "dags").mkdir()
    (folder / "pipelines").mkdir()
    for path in folder.glob("*.yaml"):
        path.rename(folder / "pipelines" / path.name)
    monkeypatch.chdir(folder)
    assert main(["check"]) == 1
    said = capsys.readouterr()
    assert said.err.count("wrok") == 2
    assert said.out == "1 valid pipeline, 2 invalid\n"
    for name in ("aaa", "zzz"):
        (folder / "pipelines" / f"{name}.yaml").unlink()
    assert main(["check"]) == 0
