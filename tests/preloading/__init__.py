"""A plugin with which Airflow's processes for tasks start quickly; without it tests would mostly wait for them."""

from __future__ import annotations

import shutil
from pathlib import Path

from batch_inference.cli.laptop.environment import LOCAL_SETTINGS_DIR

#: With it plugins are imported when a component starts, not when a task first asks for one.
ENVIRONMENT = {"AIRFLOW__CORE__LAZY_LOAD_PLUGINS": "False"}


def preload(root: Path) -> None:
    """Put the plugin into a deployment; its Airflow needs `ENVIRONMENT` too."""
    shutil.copy(Path(__file__).with_name("preloading_plugin.py"), root / "plugins")


def copy_local_settings(home: Path) -> None:
    """Give an Airflow without a laptop's PYTHONPATH the laptop's local settings, which make AWS clients quickly."""
    (home / "config").mkdir()
    shutil.copy(LOCAL_SETTINGS_DIR / "airflow_local_settings.py", home / "config")
