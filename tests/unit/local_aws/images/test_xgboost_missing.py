"""The XGBoost image where the library is not installed."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from local_aws.images.xgboost.model import load_booster


def test_what_to_install_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xgboost", None)
    with pytest.raises(ModuleNotFoundError, match=re.escape(f"{sys.executable} -m pip install xgboost")):
        load_booster(tmp_path)
