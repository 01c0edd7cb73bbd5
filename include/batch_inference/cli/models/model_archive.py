"""Packs a model as an image finds it: model.tar.gz with the model, and the code that the image needs."""

from __future__ import annotations

import gzip
import io
import string
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from batch_inference.common.errors import BatchInferenceError
from batch_inference.config.sections.stages import ContainerDefinition

SCRIPT_TEMPLATE = Path(__file__).with_name("inference.py.tmpl")
SCRIPT_PATH = "code/inference.py"
#: What SageMaker's scikit-learn image needs to find the script.
SCRIPT_ENVIRONMENT = {
    "SAGEMAKER_PROGRAM": "inference.py",
    "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code",
}
PICKLES = (".joblib", ".pkl", ".pickle")
BOOSTERS = (".json", ".ubj", ".bst", ".model", ".xgb", ".deprecated")
#: What the image of each kind serves, by a part of its name or repository.
KINDS = {
    "scikit-learn": "sklearn", "sklearn": "sklearn", "local/script": "sklearn", "xgboost": "xgboost",
    "linear-learner": "linear-learner",
}  # fmt: skip
#: Python modules that the embedded AWS needs to serve a kind, with the words that install them.
MODULES = {"sklearn": ("sklearn", "joblib"), "xgboost": ("xgboost",)}


class ModelArchiveError(BatchInferenceError):
    """The model cannot be packed for the image; the message says what is missing."""


def get_image_kind(image: str) -> str | None:
    """`sklearn`, `xgboost` or `linear-learner`; None for another image."""
    return next((kind for part, kind in KINDS.items() if part in image), None)


def build_model_archive(
    source: Path, container: ContainerDefinition, texts: Mapping[int, str] | None = None
) -> tuple[bytes, str]:
    """The bytes of model.tar.gz for a container, and a sentence on what was done.

    `source` is an archive, a folder with the archive's content, or one model file. `texts` are the features that the
    default script leaves as text: positions and names.

    Raises:
        ModelArchiveError: the image would not find what it needs.
    """
    kind = get_image_kind(container.image)
    if source.is_dir():
        files = {path.relative_to(source).as_posix(): path.read_bytes() for path in _list_files(source)}
        _check_content(files, source, kind, container)
        return _pack(files), f"packed the {len(files)} files of {source}"
    if source.name.endswith((".tar.gz", ".tgz")):
        data = source.read_bytes()
        try:
            with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
                names = [member.name.removeprefix("./") for member in archive if member.isfile()]
        except (tarfile.TarError, OSError, EOFError) as error:
            raise ModelArchiveError(f"{source} is not a .tar.gz archive: {error}") from None
        _check_content(names, source, kind, container)
        return data, f"took {source} as it is"
    return _pack_file(source, kind, container, texts or {})


def _pack_file(
    source: Path, kind: str | None, container: ContainerDefinition, texts: Mapping[int, str]
) -> tuple[bytes, str]:
    suffix, content = source.suffix.lower(), source.read_bytes()
    if kind == "xgboost" and (
        suffix in BOOSTERS or suffix in (".pkl", ".pickle") or source.name == "xgboost-model"
    ):
        # In algorithm mode the image loads the one model file of the archive, whatever wrote it.
        return _pack(
            {"xgboost-model": content}
        ), f"packed {source} as xgboost-model, which the image loads itself"
    if kind == "sklearn" and suffix in PICKLES:
        _check_environment(source, container)
        name = "model.joblib"
        template = string.Template(SCRIPT_TEMPLATE.read_text(encoding="utf-8"))
        code = template.substitute(file=name, texts=sorted(texts)).encode()
        text_clause = f" (text in {', '.join(texts.values())})" if texts else ""
        done = (
            f"packed {source} with a default {SCRIPT_PATH}, which the image needs: it loads the model with joblib, "
            f"reads CSV of numbers{text_clause} and calls predict"
        )
        return _pack({name: content, SCRIPT_PATH: code}), done
    if kind in ("sklearn", "xgboost"):
        expected = ", ".join(PICKLES if kind == "sklearn" else (*BOOSTERS, ".pkl"))
        other = "xgboost 1.7-1" if suffix in BOOSTERS and kind == "sklearn" else None
        raise ModelArchiveError(
            f"found the model file {source} for the image {container.image}; allowed is a file that ends with "
            f"{expected}, or a folder or .tar.gz with what the image needs"
            + (f"; for a model of XGBoost write image: {other} in the pipeline file" if other else "")
        )
    raise ModelArchiveError(
        f"found the model file {source} for the image {container.image}; a single file is packed for the images "
        "sklearn and xgboost only. Allowed is the model.tar.gz that a training job of this image wrote, or a folder "
        f"with what the image reads in /opt/ml/model: {source.name}, and {SCRIPT_PATH} where the image runs a script"
    )


def _check_content(
    names: Iterable[str], source: Path, kind: str | None, container: ContainerDefinition
) -> None:
    names = set(names)
    if not names:
        raise ModelArchiveError(f"{source} holds no file")
    if kind != "sklearn":
        return
    folder = container.environment.get(
        "SAGEMAKER_SUBMIT_DIRECTORY", SCRIPT_ENVIRONMENT["SAGEMAKER_SUBMIT_DIRECTORY"]
    )
    if not folder.startswith("/opt/ml/model"):
        return  # the code is elsewhere, in S3 or in an image of one's own
    program = container.environment.get("SAGEMAKER_PROGRAM", SCRIPT_ENVIRONMENT["SAGEMAKER_PROGRAM"])
    path = f"{folder.removeprefix('/opt/ml/model').strip('/')}/{program}".lstrip("/")
    if path not in names:
        raise ModelArchiveError(
            f"{source} has no {path}, with a function model_fn, which the image {container.image} needs; it has "
            f"{', '.join(sorted(names)[:10])}. Add it, or give the model file alone (such as model.joblib): it is "
            "packed with a default script"
        )
    _check_environment(source, container)


def _check_environment(source: Path, container: ContainerDefinition) -> None:
    missing = {key: value for key, value in SCRIPT_ENVIRONMENT.items() if key not in container.environment}
    if missing and "local/script" not in container.image:
        lines = ", ".join(f"{key}: {value}" for key, value in missing.items())
        raise ModelArchiveError(
            f"the container of {source} has no {' and no '.join(missing)}, by which the image {container.image} finds "
            f"its script; write environment: {{ {lines} }} in model.containers of the pipeline file"
        )


def _list_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def _pack(files: dict[str, bytes]) -> bytes:
    """The same files make the same bytes."""
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w") as archive,
    ):
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()
