"""A run's profile becomes the baseline that later runs are judged by."""

from __future__ import annotations

import json
from pathlib import Path

import numpy
import pytest
import yaml

from batch_inference.cli.main import main
from batch_inference.jobs.common.profiles import NumberProfile, TextProfile
from tests.unit.builders import pipeline


def test_what_is_printed_is_the_section_of_a_pipeline_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rules on outliers and steps that fill gaps find the statistics that they need in it."""
    ages, ids = NumberProfile(), TextProfile()
    ages.add(numpy.arange(0.0, 101.0))
    ids.add(["a", "b", "b", ""])
    columns = {"age": ages.to_dict(), "id": ids.to_dict(), "label": NumberProfile().to_dict()}
    path = tmp_path / "profile.json"
    path.write_text(json.dumps({"version": 1, "columns": columns, "groups": {}}))
    assert main(["baseline", str(path)]) == 0
    section = yaml.safe_load(capsys.readouterr().out)
    assert section["baseline"]["id"] == {"most_frequent": "b"}
    assert section["baseline"]["age"]["mean"] == 50
    assert section["baseline"]["age"]["q3"] == pytest.approx(75, rel=0.011)
    rules = [{"rule": "outlier", "column": "age", "method": "iqr"}]
    impute = [{"column": "age", "strategy": "median"}]
    assert pipeline({**section, "rules": rules, "impute": impute}).baseline["age"].std is not None
