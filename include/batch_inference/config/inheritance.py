"""Merges a pipeline's YAML file with the `_defaults.yaml` of the folders above it, and with a key of its `matrix`.

The nearest file wins: mappings merge, lists and single values replace, and null resets what a file further up says.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from batch_inference.common.errors import PipelineError
from batch_inference.common.formatting import join_quoted, suggest_name
from batch_inference.config.validation_errors import Location, format_problem
from batch_inference.config.yaml_loader import YamlDocument, read_yaml_mapping

DEFAULTS_NAME = "_defaults.yaml"
#: The part of a pipeline's id that a file, a folder or a key of `matrix` is.
NAME_PART = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
#: What `{matrix}` in a text of the file stands for: the key of `matrix`.
MATRIX_PLACEHOLDER = "{matrix}"
#: Keys that need `preprocess`: inherited only by a pipeline that has the key `preprocess` itself.
PREPROCESS_KEYS = (
    "preprocess", "rules", "max_rejected", "baseline", "impute", "function", "sensitive", "features",
)  # fmt: skip


def read_merged_document(
    path: Path, folder: Path, model: type[BaseModel], matrix_key: str | None = None
) -> YamlDocument:
    """The keys of the pipeline file at `path` with what it inherits from `folder` down, and of one key of its matrix.

    Raises:
        PipelineError: a file cannot be read, `name` or `matrix` is where it may not be, or the matrix has no such key.
    """
    own = _read(path, model)
    layers = [_take_out(own, "matrix")]
    if "matrix" in own.value:
        layers.append(_select_matrix_key(path, own, matrix_key))
        layers = [_fill_matrix_token(layer, str(matrix_key)) for layer in layers]
    elif matrix_key is not None:
        raise PipelineError(str(path), (f"has no matrix, so no pipeline {path.stem}.{matrix_key}",))
    stated = [layer.value["preprocess"] for layer in layers if "preprocess" in layer.value]
    has_preprocess = stated[-1:] not in ([], [None])
    inherited = YamlDocument({})
    for parent in [each for each in reversed(path.parents) if each == folder or folder in each.parents]:
        if (file := parent / DEFAULTS_NAME).exists():
            defaults = _read_defaults(file, model)
            if not has_preprocess:
                for key in PREPROCESS_KEYS:
                    defaults = _take_out(defaults, key)
            inherited = merge_documents(inherited, defaults, model)
    for layer in layers:
        inherited = merge_documents(inherited, layer, model)
    return inherited


def list_matrix_keys(path: Path, model: type[BaseModel]) -> tuple[str, ...]:
    """The keys of the matrix of the pipeline file at `path`; empty without one. Raises PipelineError."""
    own = _read(path, model)
    return tuple(_check_matrix(path, own)) if "matrix" in own.value else ()


def merge_documents(inherited: YamlDocument, nearer: YamlDocument, model: type[BaseModel]) -> YamlDocument:
    """Merge two documents of mappings; each field keeps the file and line of the one that it is from."""
    replaced = set[Location]()

    def merge(below: Any, above: Any, at: Location) -> Any:
        if not (isinstance(below, dict) and isinstance(above, dict)):
            replaced.add(at)
            return above
        merged = dict(below)
        for key, value in above.items():
            if value is None and key in below and not _accepts_null(model, (*at, key)):
                replaced.add((*at, key))
                del merged[key]
            else:
                merged[key] = merge(below[key], value, (*at, key)) if key in below else value
        return merged

    value = merge(inherited.value, nearer.value, ())
    kept = {
        at: line
        for at, line in inherited.lines.items()
        if not any(at[:length] in replaced for length in range(len(at) + 1))
    }
    files = {at: inherited.files[at] for at in kept.keys() - nearer.lines.keys() if at in inherited.files}
    return YamlDocument(value, {**kept, **nearer.lines}, {**files, **nearer.files})


@lru_cache(maxsize=128)
def _read_version(path: Path, model: type[BaseModel], mtime_ns: int, size: int) -> YamlDocument:  # noqa: ARG001 - another content is read anew
    return read_yaml_mapping(path, model)


def _read(path: Path, model: type[BaseModel]) -> YamlDocument:
    """The document of a file, which must not be changed: the file is read once while it is the same."""
    try:
        status = path.stat()
    except OSError:
        return read_yaml_mapping(path, model)  # for its message
    return _read_version(path, model, status.st_mtime_ns, status.st_size)


def _read_defaults(file: Path, model: type[BaseModel]) -> YamlDocument:
    document = _read(file, model)
    for key in ("name", "matrix"):
        if key in document.value:
            problem = f"found in {DEFAULTS_NAME}; allowed only in the file of a pipeline"
            raise _build_error(file, document, (key,), problem)
    return YamlDocument(document.value, document.lines, dict.fromkeys(document.lines, str(file)))


def _take_out(document: YamlDocument, key: str) -> YamlDocument:
    """The document without a key."""
    if key not in document.value:
        return document
    value = {name: each for name, each in document.value.items() if name != key}
    lines = {at: line for at, line in document.lines.items() if at[:1] != (key,)}
    return YamlDocument(value, lines, document.files)


def _check_matrix(path: Path, own: YamlDocument) -> dict[str, Any]:
    matrix = own.value["matrix"]
    if not isinstance(matrix, dict) or not matrix:
        problem = "allowed is a mapping: a key for each DAG, and below it the keys of the file that differ"
        raise _build_error(path, own, ("matrix",), problem)
    for key in matrix:
        if not (isinstance(key, str) and NAME_PART.fullmatch(key)):
            problem = f"found the key {key!r}; allowed are a-z, 0-9, _ and -"
            if not isinstance(key, str):
                problem += f'; quote it: "{key}"'
            raise _build_error(path, own, ("matrix", str(key)), problem)
    return matrix


def _select_matrix_key(path: Path, own: YamlDocument, key: str | None) -> YamlDocument:
    """What the file says for one key of its matrix."""
    matrix = _check_matrix(path, own)
    if key is None or key not in matrix:
        found = "found no key" if key is None else f"found no key {key!r}"
        allowed = join_quoted(matrix) + suggest_name(key or "", matrix)
        problem = f"{found} after {path.stem} in the name of the pipeline; allowed is {allowed}"
        raise _build_error(path, own, ("matrix",), problem)
    changes = {} if matrix[key] is None else matrix[key]
    if not isinstance(changes, dict):
        raise _build_error(
            path,
            own,
            ("matrix", key),
            f"found {json.dumps(changes, ensure_ascii=False, default=str)}; allowed is a mapping of keys of the file",
        )
    for fixed in ("name", "matrix"):
        if fixed in changes:
            problem = "found below matrix; allowed only at the top of the file"
            raise _build_error(path, own, ("matrix", key, fixed), problem)
    lines = {at[2:]: line for at, line in own.lines.items() if at[:2] == ("matrix", key) and at[2:]}
    return YamlDocument(changes, lines)


def _build_error(path: Path, document: YamlDocument, at: tuple[str, ...], problem: str) -> PipelineError:
    """What a merge key (`<<`) brings has no line of its own: then that of what contains it is told."""
    return PipelineError(str(path), (format_problem(at, problem, document.find_place),))


def _fill_matrix_token(document: YamlDocument, key: str) -> YamlDocument:
    def fill(value: Any) -> Any:
        if isinstance(value, str):
            return value.replace(MATRIX_PLACEHOLDER, key)
        if isinstance(value, dict):
            return {name: fill(each) for name, each in value.items()}
        return [fill(each) for each in value] if isinstance(value, list) else value

    return YamlDocument(fill(document.value), document.lines, document.files)


def _accepts_null(model: type[BaseModel], location: Location) -> bool:
    """Whether null is a value of the field, as in `keep_runs_days: null`, and not only the lack of one."""
    models: list[Any] = [model]
    annotation: Any = None
    for part in location:
        fields = [each.model_fields[part] for each in models if part in getattr(each, "model_fields", {})]
        if not fields:
            return False
        annotation = fields[0].annotation
        models = [annotation, *get_args(annotation)]
    return type(None) in get_args(annotation)
