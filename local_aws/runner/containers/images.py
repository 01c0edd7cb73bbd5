"""Registry of container images: a YAML file that maps image URI patterns to commands."""

from __future__ import annotations

import os
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field

from local_aws.runner.failures import ClientFailedError

BUILT_IN_IMAGES_FILE = Path(__file__).resolve().parents[2] / "images" / "images.yaml"
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Image(BaseModel):
    """One entry of the registry. In every text `{python}`, `{bin}`, `{images}`, `{here}` and `{port}` are replaced.

    Attributes:
        pattern: shell pattern for the image URI, such as "*/sagemaker-scikit-learn:*".
        entrypoint: the image's ENTRYPOINT.
        cmd: the image's CMD.
        serve: what a transform job starts instead of ENTRYPOINT + ["serve"].
        path: directories put first on PATH.
        environment: the image's own variables.
        mounts: directories a container must see even when they lie below /tmp.
        here: the directory of the file the entry came from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pattern: str
    description: str = ""
    entrypoint: list[str] = Field(default_factory=list)
    cmd: list[str] = Field(default_factory=list)
    serve: list[str] | None = None
    path: list[str] = Field(default_factory=list)
    environment: dict[str, str] = Field(default_factory=dict)
    mounts: list[str] = Field(default_factory=list)
    here: Path = BUILT_IN_IMAGES_FILE.parent

    def build_serve_command(self, port: int) -> list[str]:
        """As `docker run <image> serve`."""
        words = self.serve if self.serve is not None else [*self.entrypoint, "serve"]
        return [self.expand_placeholders(word, port) for word in words]

    def build_run_command(self, entrypoint: list[str] | None, arguments: list[str] | None) -> list[str]:
        """ENTRYPOINT and CMD of a container, where the caller's take the place of the image's.

        As in container engines, an entrypoint given by the caller drops the image's CMD.
        """
        if entrypoint is not None:
            return [*entrypoint, *(arguments or [])]
        return [
            *map(self.expand_placeholders, self.entrypoint),
            *(map(self.expand_placeholders, self.cmd) if arguments is None else arguments),
        ]

    def build_environment(self, port: int = 0) -> dict[str, str]:
        """PATH and the image's own environment."""
        first = [self.expand_placeholders(entry) for entry in self.path] or [os.path.dirname(sys.executable)]  # noqa: PTH120 (no resolve: a venv's python is a link)
        own = {name: self.expand_placeholders(value, port) for name, value in self.environment.items()}
        return {"PATH": os.pathsep.join([*first, SYSTEM_PATH]), "LANG": "C.UTF-8", **own}

    @property
    def visible_paths(self) -> tuple[Path, ...]:
        return (self.here, *(Path(self.expand_placeholders(entry)) for entry in [*self.mounts, *self.path]))

    def expand_placeholders(self, text: str, port: int = 0) -> str:
        for name, value in {
            "python": sys.executable,
            "bin": os.path.dirname(sys.executable),  # noqa: PTH120 (see above)
            "images": BUILT_IN_IMAGES_FILE.parent,
            "here": self.here,
            "port": port,
        }.items():
            text = text.replace("{" + name + "}", str(value))
        return text


class ImageRegistry:
    """The user's images first, then the built-in ones; the first pattern that matches wins."""

    def __init__(self, images_file: str | None = None) -> None:
        self.files = [Path(images_file).resolve()] if images_file else []
        self.files.append(BUILT_IN_IMAGES_FILE)
        self.images = [image for file in self.files for image in _read(file)]

    def find(self, uri: str) -> Image:
        """The image for `uri`; raises ClientFailedError in AWS's words, and says where to register it."""
        for image in self.images:
            if fnmatchcase(uri, image.pattern):
                return image
        raise ClientFailedError(
            f"API error (404): manifest for {uri} not found: manifest unknown: Requested image not found. "
            f"(This is the embedded AWS: an image is a command in a registry. Add a pattern for it under `images:` in "
            f"{' or '.join(map(str, self.files[:1]))}; known patterns: {', '.join(i.pattern for i in self.images)})"
        )


def _read(file: Path) -> list[Image]:
    """Raises ValueError naming the file when it is not a registry."""
    data: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
    if not isinstance(data, dict) or set(data) != {"images"} or not isinstance(data["images"], list):
        raise ValueError(f"{file}: an image registry is a mapping with one key, images, holding a list")
    return [Image.model_validate({"here": file.parent, **entry}) for entry in data["images"]]
