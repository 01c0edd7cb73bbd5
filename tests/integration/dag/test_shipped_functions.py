"""What travels to the containers has the pipeline's own functions under the names that the jobs' configuration says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml

from batch_inference.config.pipeline_files import load_pipeline_by_id
from batch_inference.dag.tasks.plan import digest_code, read_code
from batch_inference.requests.sagemaker import build_join_spec
from tests.unit.builders import document

LOAD = """
import sys
sys.path.insert(0, sys.argv[1])
from batch_inference.jobs.common.pandas_function import PandasFunction
from batch_inference.jobs.config.preprocess_config import UserFunction
function = PandasFunction(
    UserFunction(*sys.argv[2:]), "join.function", types={}, wanted=["band"], may_drop_rows=False
)
print(function({"id": ["1", "2"]}, "rows")[1]["band"])
"""


def test_a_job_imports_a_teams_function_from_the_code_that_was_shipped(tmp_path: Path) -> None:
    """Of a team whose folder is no Python name, in a process that has nothing else of the pipelines folder."""
    folder, shipped = tmp_path / "pipelines", tmp_path / "code"
    (folder / "risk-eu").mkdir(parents=True)
    function = {"module": "bands", "name": "add", "adds": {"band": "string"}}
    (folder / "risk-eu/churn.yaml").write_text(yaml.safe_dump(document({"join.function": function})))
    (folder / "risk-eu/bands.py").write_text("def add(frame):\n    return frame.assign(band='low')\n")
    (folder / "bands.py").write_text("raise AssertionError('the nearest is used')\n")
    pipeline = load_pipeline_by_id("risk-eu.churn", folder)
    code = read_code(pipeline, folder)
    for name, content in code.items():
        (shipped / name).parent.mkdir(parents=True, exist_ok=True)
        (shipped / name).write_bytes(content)
    named = build_join_spec(pipeline)["function"]
    ended = subprocess.run(
        [sys.executable, "-I", "-c", LOAD, str(shipped), named["module"], named["name"]],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ended.stdout.strip(), ended.returncode) == ("['low', 'low']", 0), ended.stderr
    (folder / "risk-eu/bands.py").write_text("def add(frame):\n    return frame.assign(band='high')\n")
    assert digest_code(read_code(pipeline, folder)) != digest_code(code)
