"""AWS's container images by name: `sklearn 1.2-1` is an image in an account of AWS's for each region.

images.json is the table, as the SageMaker SDK has it; tools/images.py writes it. A text with a slash is an image URI.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, Field

from batch_inference.common.formatting import join_words, suggest_name

_TABLE = Path(__file__).with_name("images.json")


@dataclass(frozen=True, slots=True)
class NamedImage:
    """An image of AWS's; `accounts` has the account that holds it, by region."""

    name: str
    repository: str
    tag: str
    accounts: dict[str, str]

    def build_uri(self, region: str) -> str:
        """The image's URI in a region. Raises ValueError for a region in which AWS does not offer it."""
        if region not in self.accounts:
            nearest = suggest_name(region, self.accounts)
            raise ValueError(
                f"found {self.name!r}, which AWS does not offer in the region {region}{nearest}; write the image's "
                f"URI, or use one of the regions {', '.join(self.accounts)}"
            )
        domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
        return f"{self.accounts[region]}.dkr.ecr.{region}.{domain}/{self.repository}:{self.tag}"


@dataclass(frozen=True, slots=True)
class ImageTable:
    """Images by name; `source` and `as_of` say where they are from."""

    source: str
    as_of: str
    images: dict[str, NamedImage]


@functools.cache
def load_images() -> ImageTable:
    """The table of this package."""
    table = json.loads(_TABLE.read_text())
    images = {
        name: NamedImage(name, image["repository"], image["tag"], table["accounts"][image["accounts"]])
        for name, image in table["images"].items()
    }
    return ImageTable(table["source"], table["as_of"], images)


def is_image_uri(image: str) -> bool:
    """Whether an image of a pipeline file is a URI, and not a name."""
    return "/" in image


def build_image_uri(image: str, region: str) -> str:
    """The URI of an image of a pipeline file in the region of the jobs. Raises ValueError where it has none there."""
    return image if is_image_uri(image) else load_images().images[image].build_uri(region)


def _check_image(image: str) -> str:
    if is_image_uri(image):
        if any(character.isspace() for character in image):
            raise ValueError(f"found {image!r}; an image URI has no spaces")
        return image
    name = " ".join(image.split())
    images = load_images().images
    if name in images:
        return name
    framework, _, version = name.replace(":", " ").partition(" ")
    versions = [each.partition(" ")[2] for each in images if each.split()[0] == framework]
    if not versions:
        frameworks = list(dict.fromkeys(each.split()[0] for each in images))
        raise ValueError(
            f"found {image!r}; allowed is an image URI, or a name and version such as 'sklearn 1.2-1', of "
            f"{join_words(frameworks, conjunction='or')}{suggest_name(framework, frameworks)}"
        )
    found = f"{image!r} without a version" if not version else repr(image)
    raise ValueError(
        f"found {found}; allowed of {framework} is {join_words(versions, conjunction='or')}{suggest_name(name, images)}"
    )


#: An image in a pipeline file: a URI in ECR, or a name of images.json.
ImageName: TypeAlias = Annotated[
    str,
    Field(min_length=1, max_length=255, examples=["sklearn 1.2-1"]),
    AfterValidator(_check_image),
]
