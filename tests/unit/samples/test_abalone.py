from __future__ import annotations

import csv
import importlib.util
import io
import json
import struct
import tarfile
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from batch_inference.samples.abalone import fit, generate
from batch_inference.samples.abalone.data import COLUMNS, draw_records
from batch_inference.samples.abalone.linear_learner import encode_ndarray_list

ADULT = Path(__file__).resolve().parents[2] / "inputs" / "adult"


@pytest.fixture(scope="module")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return fit.write_models(tmp_path_factory.mktemp("model"), rows=3_000)


@pytest.fixture(scope="module")
def served(
    artefacts: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[ModuleType, object]:
    """The featurizer as its container unpacks it: the module from code/, and what its model_fn returns."""
    folder = tmp_path_factory.mktemp("opt-ml-model")
    with tarfile.open(artefacts[0]) as archive:
        archive.extractall(folder, filter="data")
    spec = importlib.util.spec_from_file_location("served_inference", folder / "code" / "inference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module, module.model_fn(str(folder))


def featurize(served: tuple[ModuleType, object], body: str) -> list[list[float]]:
    module, model = served
    answer, content_type = module.output_fn(
        module.predict_fn(module.input_fn(body.encode(), "text/csv; charset=utf-8"), model), "text/csv"
    )
    assert content_type == "text/csv"
    return [[float(cell) for cell in row] for row in csv.reader(io.StringIO(answer))]


def test_generated_rows_are_as_many_as_asked_and_the_same_for_the_same_seed(tmp_path: Path) -> None:
    """The same seed writes the same objects, of unequal size, with exactly the asked number of rows."""
    first = generate.write_objects(tmp_path / "a", rows=5_003, seed=3)
    again = generate.write_objects(tmp_path / "b", rows=5_003, seed=3)
    other = generate.write_objects(tmp_path / "c", rows=5_003, seed=4)
    texts = [path.read_text() for path in first]
    assert texts == [path.read_text() for path in again]
    assert texts != [path.read_text() for path in other]
    assert sum(text.count("\n") for text in texts) == 5_003
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [path.name for path in first]
    assert len({len(text) for text in texts}) == len(texts)


def test_generated_rows_hold_each_kind_of_dirt() -> None:
    """Missing values, impossible heights, unknown sex, wrong arity, texts for numbers and duplicates are all there."""
    rows = [line.split(",") for line in generate.generate_lines_with_errors(rows=20_000, seed=1)]
    fitting = [row for row in rows if len(row) == len(COLUMNS)]
    assert {len(row) for row in rows} == {6, 9, 10}
    assert sum(row[4] == "" for row in fitting) == 60
    assert sum(row[3] in ("0.0", "1.13") for row in fitting) == 60
    assert sum(row[0] == "X" for row in fitting) == 40
    assert sum(row[2] == "n/a" for row in fitting) == 20
    assert len(rows) - len({tuple(row) for row in rows}) == 80


def test_clean_rows_correlate_as_abalone_do() -> None:
    """Length, weights and rings rise together, roughly as in the published data."""
    data = draw_records(4_000, np.random.default_rng(1))
    correlation = np.corrcoef(data.numbers.T)
    assert correlation[0, 1] > 0.95  # length with diameter
    assert correlation[0, 3] > 0.85  # length with whole weight
    assert 0.4 < np.corrcoef(data.numbers[:, 6], data.rings)[0, 1] < 0.9  # shell weight with rings


def test_the_featurizer_answers_one_line_a_record_with_or_without_label(
    served: tuple[ModuleType, object],
) -> None:
    """The label is ignored, whether it is there or not, and line breaks at the end make no record."""
    bare = "M,0.455,0.365,0.095,0.514,0.2245,0.101,0.15\nF,0.53,0.42,0.135,0.677,0.2565,0.1415,0.21"
    labelled = "\n".join(f"{line},9" for line in bare.split("\n")) + "\n"
    rows = featurize(served, bare)
    assert featurize(served, labelled) == rows
    assert [len(row) for row in rows] == [10, 10]
    assert [row[-3:] for row in rows] == [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]  # F, I, M


def test_the_featurizer_imputes_from_what_it_was_fitted_on(served: tuple[ModuleType, object]) -> None:
    """An empty cell becomes the training median, whatever the other records of the request are."""
    alone = featurize(served, "I,0.33,0.255,,0.205,0.0895,0.0395,0.055\n")
    among = featurize(served, "M,0.7,0.6,0.25,2,1,0.5,0.6\nI,0.33,0.255,,0.205,0.0895,0.0395,0.055\n")
    assert alone[0] == among[1]


def test_the_featurizer_refuses_what_it_cannot_read(served: tuple[ModuleType, object]) -> None:
    """A wrong arity, an empty line in the middle and another content type are errors, never fewer rows."""
    module, _ = served
    with pytest.raises(ValueError, match="line 2 has 0 columns"):
        module.input_fn("M,1,1,1,1,1,1,1\n\nM,1,1,1,1,1,1,1\n", "text/csv")
    with pytest.raises(ValueError, match="has 3 columns, allowed are 8 or 9"):
        module.input_fn("M,1,1\n", "text/csv")
    with pytest.raises(ValueError, match="takes text/csv"):
        module.input_fn("{}", "application/json")


def members(artefact: Path) -> dict[str, bytes]:
    with tarfile.open(artefact) as archive:
        assert archive.getnames() == ["model_algo-1"]
        packed = archive.extractfile("model_algo-1")
        assert packed is not None
        with zipfile.ZipFile(io.BytesIO(packed.read())) as inner:
            return {name: inner.read(name) for name in inner.namelist()}


def test_the_linear_learner_artefact_predicts_the_rings(
    artefacts: tuple[Path, Path], served: tuple[ModuleType, object]
) -> None:
    """Weights and bias read back from the parameter file explain the label better than its mean does."""
    params = members(artefacts[1])["mx-mod-0000.params"]
    magic, _, arrays = struct.unpack_from("<QQQ", params)
    array_magic, storage, dimensions, rows, columns = struct.unpack_from("<IiIqq", params, 24)
    assert (magic, arrays, array_magic, storage, dimensions, rows, columns) == (
        0x112,
        2,
        0xF993FAC9,
        0,
        2,
        10,
        1,
    )
    weights = np.frombuffer(params, "<f4", 10, 24 + 28 + 12)
    bias = np.frombuffer(params, "<f4", 1, 24 + 28 + 12 + 40 + 28 + 12)[0]
    data = draw_records(500, np.random.default_rng(99))
    module, model = served
    predicted = module.predict_fn(fit.to_frame(data), model) @ weights + bias
    assert np.mean((predicted - data.rings) ** 2) < 0.6 * np.var(data.rings)


def test_the_artefact_has_the_members_and_keys_of_a_real_one(artefacts: tuple[Path, Path]) -> None:
    """Same files, same manifest, same keys and same graph up to the output node as what Linear Learner wrote."""
    ours, real = members(artefacts[1]), members(ADULT / "model.tar.gz")
    assert list(ours) == list(real)
    assert json.loads(ours["manifest.json"]) == json.loads(real["manifest.json"])
    parameters = [json.loads(one["additional-params.json"]) for one in (ours, real)]
    assert list(parameters[0]) == list(parameters[1])
    assert list(parameters[0]["metrics_params"]) == list(parameters[1]["metrics_params"])
    symbols = [json.loads(one["mx-mod-symbol.json"]) for one in (ours, real)]
    assert [node["inputs"] for node in symbols[0]["nodes"]] == [
        node["inputs"] for node in symbols[1]["nodes"]
    ]
    assert [node["op"] for node in symbols[0]["nodes"]][:-1] == [node["op"] for node in symbols[1]["nodes"]][
        :-1
    ]
    for key in ("arg_nodes", "node_row_ptr", "heads", "attrs"):
        assert symbols[0][key] == symbols[1][key]


def test_the_parameter_file_is_byte_for_byte_what_mxnet_writes() -> None:
    """Writing the real model's arrays gives the real file."""
    real = members(ADULT / "model.tar.gz")["mx-mod-0000.params"]
    weights = np.frombuffer(real, "<f4", 14, 64).reshape(14, 1)
    bias = np.frombuffer(real, "<f4", 1, 64 + 56 + 40).reshape(1, 1)
    assert encode_ndarray_list({"arg:fc0_weight": weights, "arg:fc0_bias": bias}) == real
