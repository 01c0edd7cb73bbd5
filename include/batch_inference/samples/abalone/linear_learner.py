"""Writes a linear regressor in the format of Amazon's Linear Learner.

model.tar.gz holds `model_algo-1`, a zip of the MXNet module (symbol and parameters) and two JSON documents, as in the
artefact of aws/amazon-sagemaker-examples that the tests compare with. The parameters are an MXNet NDArray list:
magic 0x112, then per array the V2 magic, storage type, shape, device and type, then the names.
"""

from __future__ import annotations

import gzip
import io
import json
import struct
import tarfile
import zipfile
from typing import Any

import numpy as np

_LIST_MAGIC = 0x112
_ARRAY_MAGIC = 0xF993FAC9
_CPU = (1, 0)  # device type and number
_FLOAT32 = 0
_EPOCH = (2020, 1, 1, 0, 0, 0)  # one date for all files: the same model gives the same bytes


def build_model_archive(weights: np.ndarray, bias: float) -> bytes:
    """Build a model.tar.gz that predicts `features @ weights + bias`; `weights` has one entry for each feature."""
    arrays = {
        "arg:fc0_weight": np.asarray(weights, dtype="<f4").reshape(-1, 1),
        "arg:fc0_bias": np.full((1, 1), bias, dtype="<f4"),
    }
    members = {
        "mx-mod-symbol.json": json.dumps(_symbol(len(weights)), indent=2).encode(),
        "manifest.json": json.dumps(
            {"mx-mod": "mxnet_module", "additional-params.json": "json", "version": 1}
        ).encode(),
        "additional-params.json": json.dumps(_additional_params()).encode(),
        "mx-mod-0000.params": encode_ndarray_list(arrays),
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content)
    return build_tar_gz({"model_algo-1": packed.getvalue()})


def encode_ndarray_list(arrays: dict[str, np.ndarray]) -> bytes:
    """Encode named dense float32 arrays in MXNet's file format."""
    parts = [struct.pack("<QQQ", _LIST_MAGIC, 0, len(arrays))]
    for array in arrays.values():
        parts.append(struct.pack("<IiI", _ARRAY_MAGIC, 0, array.ndim))
        parts.append(struct.pack(f"<{array.ndim}q", *array.shape))
        parts.append(struct.pack("<iii", *_CPU, _FLOAT32))
        parts.append(array.astype("<f4").tobytes())
    parts.append(struct.pack("<Q", len(arrays)))
    parts.extend(struct.pack("<Q", len(name)) + name.encode() for name in arrays)
    return b"".join(parts)


def build_tar_gz(members: dict[str, bytes]) -> bytes:
    """Build a gzipped tar of these files; the same members give the same bytes."""
    packed = io.BytesIO()
    # tarfile's own "w:gz" would write the time of day into the gzip header.
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w") as archive,
    ):
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def _symbol(features: int) -> dict[str, Any]:
    def node(op: str, name: str, inputs: list[list[int]], **attrs: str) -> dict[str, Any]:
        return {"op": op, "name": name, **({"attrs": attrs} if attrs else {}), "inputs": inputs}

    return {
        "nodes": [
            node("null", "data", []),
            node("null", "fc0_weight", [], __shape__=f"({features}, 1)"),
            node("dot", "dot0", [[0, 0, 0], [1, 0, 0]]),
            node("null", "fc0_bias", [], __lr_mult__="10.0", __shape__="(1, 1)"),
            node("broadcast_add", "broadcast_plus0", [[2, 0, 0], [3, 0, 0]]),
            node("null", "out_label", []),
            node("LinearRegressionOutput", "linearregressionoutput0", [[4, 0, 0], [5, 0, 0]]),
        ],
        "arg_nodes": [0, 1, 3, 5],
        "node_row_ptr": list(range(8)),
        "heads": [[6, 0, 0]],
        "attrs": {"mxnet_version": ["int", 10301]},
    }


def _additional_params() -> dict[str, Any]:
    unset = ("quantile", "huber_delta", "margin", "loss_insensitivity", "eps_insensitive_loss_type")
    metrics = {"accuracy_top_k": 3, "f_beta": 1.0, "positive_example_weight_mult": 1.0}
    return {
        "threshold": None,
        "loss_type": "squared_loss",
        "predictor_type": "regressor",
        "metrics_params": {**dict.fromkeys(unset), **metrics, "class_weights": None, "threshold": None},
    }
