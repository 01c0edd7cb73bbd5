"""What stays on the laptop of a run whose embedded S3 has ended."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from batch_inference.cli.laptop import kept_files
from batch_inference.cli.laptop.kept_files import KeptFiles, copy_objects, delete_old_folders
from batch_inference.cli.laptop.run import keep_files, print_kept_files
from batch_inference.common.names import RunPaths

ROOT = "s3://bucket/work/churn/manual-1/"
NAMES = [
    "plan.json", "report.html", "report.json", "checks.json", "code/batch_inference.zip", "scored.json",
    "pre-1/rejects.json", "pre-1/rejects/algo-1-00000.jsonl", "pre-1/records/algo-1-00000.csv",
    "transform-1/mended.json", "transform-1/rejects/algo-1-00000.jsonl", "transform-1/predictions/a.csv.out",
]  # fmt: skip


class Objects:
    """An S3 client of one bucket, whose objects hold their keys."""

    def __init__(self, *uris: str) -> None:
        self.keys = [uri.removeprefix("s3://bucket/") for uri in uris]

    def get_paginator(self, _: str) -> Objects:
        return self

    def paginate(self, *, Bucket: str, Prefix: str) -> list[dict[str, Any]]:  # noqa: N803 - boto3's
        assert Bucket == "bucket"
        return [{"Contents": [{"Key": key} for key in self.keys if key.startswith(Prefix)]}, {}]

    def download_file(self, _: str, key: str, to: str) -> None:
        Path(to).write_text(key)


def keep(client: Objects, runs_folder: Path) -> KeptFiles:
    """The kept files of the run, without its published rows."""
    return keep_files(client, RunPaths(ROOT), runs_folder, with_output=False)


def test_report_and_rejects_are_kept_and_data_of_the_stages_are_not(tmp_path: Path) -> None:
    kept = keep(Objects(*(f"{ROOT}{name}" for name in NAMES)), tmp_path)
    assert {str(path.relative_to(tmp_path / "manual-1")) for path in kept.paths.values()} == {
        "plan.json", "report.html", "report.json", "checks.json", "pre-1/rejects.json",
        "pre-1/rejects/algo-1-00000.jsonl", "transform-1/mended.json", "transform-1/rejects/algo-1-00000.jsonl",
    }  # fmt: skip
    assert kept.report_html == tmp_path / "manual-1" / "report.html"
    assert all(path.is_file() for path in kept.paths.values())


def test_printed_addresses_name_files_that_exist(tmp_path: Path) -> None:
    """Those of files that were not copied stay as they are."""
    client = Objects(f"{ROOT}pre-1/rejects/a.jsonl", "s3://bucket/out/part-0.parquet")
    kept = keep(client, tmp_path)
    copy_objects(client, "s3://bucket/out/", kept, kept.folder / "output")
    text = (
        f"listed below {ROOT}pre-1/rejects/. Rows at s3://bucket/out/; ({ROOT}pre-1/rejects/a.jsonl), {ROOT}x"
    )
    folder = tmp_path / "manual-1"
    assert kept.replace_uris(text) == (
        f"listed below {folder}/pre-1/rejects/. Rows at {folder}/output/; "
        f"({folder}/pre-1/rejects/a.jsonl), {ROOT}x"
    )


def test_a_key_that_climbs_out_of_the_folder_is_left(tmp_path: Path) -> None:
    kept = KeptFiles(tmp_path / "run")
    copy_objects(
        Objects("s3://bucket/out/../../secret", "s3://bucket/out/a"), "s3://bucket/out/", kept, kept.folder
    )
    assert [path.name for path in kept.paths.values()] == ["a"]


def test_a_run_that_failed_before_its_plan_keeps_nothing_and_says_nothing(tmp_path: Path) -> None:
    kept = keep(Objects(), tmp_path / "runs")
    assert kept.paths == {}
    assert kept.report_html is None
    assert not kept.folder.exists()


def test_a_full_disk_does_not_hide_how_the_run_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was copied before is known."""
    client = Objects(f"{ROOT}plan.json", f"{ROOT}report.json")
    download = client.download_file

    def fill_up(bucket: str, key: str, to: str) -> None:
        if key.endswith("report.json"):
            raise OSError(28, "No space left on device")
        download(bucket, key, to)

    monkeypatch.setattr(client, "download_file", fill_up)
    kept = keep(client, tmp_path)
    assert list(kept.paths) == [f"{ROOT}plan.json"]
    assert "The files of the run could not be kept: [Errno 28] No space left" in capsys.readouterr().out


def test_an_old_folder_that_cannot_be_deleted_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_files, "KEPT_RUNS", 1)
    monkeypatch.setattr("os.unlink", lambda *_, **__: (_ for _ in ()).throw(PermissionError))
    for name in ("run-1", "run-2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").touch()
    delete_old_folders(tmp_path / "run-2")
    assert (tmp_path / "run-1" / "a").exists()


@pytest.mark.parametrize(("kept_bytes", "left"), [(1000, [5, 6, 7, 8, 9]), (25, [8, 9]), (1, [9])])
def test_the_disk_does_not_fill_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept_bytes: int, left: list[int]
) -> None:
    """The oldest go first; the last run stays, however large it is."""
    monkeypatch.setattr(kept_files, "KEPT_BYTES", kept_bytes)
    for number in range(10):
        folder = tmp_path / f"run-{number}"
        folder.mkdir()
        (folder / "a").write_bytes(b"x" * 10)
        os.utime(folder, (number, number))
    delete_old_folders(tmp_path / "run-9")
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"run-{number}" for number in left]


def test_many_files_of_rejects_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each instance and process writes its own; the folder opens them all."""
    folder = tmp_path / "job" / "rejects"
    kept = KeptFiles(tmp_path, {f"s3://b/{name}": folder / name for name in ("a.jsonl", "b.jsonl")})
    kept.paths["s3://b/report.html"] = tmp_path / "report.html"
    print_kept_files(kept)
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "rejected" in line] == [f"Its rejected records: 2 files in {folder}/"]
    assert lines[-1].endswith(f"{tmp_path.resolve()}/report.html")
