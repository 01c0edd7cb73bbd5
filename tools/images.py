"""Writes the table of AWS's images by name, as an installed SageMaker SDK has them.

The SDK is not installed in this repository's environment: `uv run --with 'sagemaker<3' python tools/images.py`.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sagemaker import image_uris  # type: ignore[import-not-found]

TARGET = Path(__file__).parents[1] / "include" / "batch_inference" / "config" / "images.json"
#: AWS's algorithms that answer /invocations, so that a transform job can run them.
ALGORITHMS = (
    "blazingtext", "factorization-machines", "forecasting-deepar", "image-classification", "ipinsights", "kmeans",
    "knn", "lda", "linear-learner", "ntm", "object-detection", "object2vec", "pca", "randomcutforest",
    "semantic-segmentation", "seq2seq", "sklearn", "xgboost",
)  # fmt: skip
#: Their images of the last years; older ones have Python versions without support.
FRAMEWORKS = {"pytorch": (1, 13), "tensorflow": (2, 11), "huggingface": (4, 26)}
INSTANCE_TYPES = {"cpu": "ml.m5.xlarge", "gpu": "ml.g5.xlarge"}
_URI = re.compile(r"(\d{12})\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?/([^:]+):(.+)")


def list_images() -> Iterator[tuple[str, str, str, dict[str, str]]]:
    """Name, repository, tag and the account by region, of each image."""
    for framework in (*ALGORITHMS, *FRAMEWORKS):
        config = image_uris.config_for_framework(framework)
        config = config.get("inference", config)
        for version, details in config["versions"].items():
            if framework in FRAMEWORKS and _parse_version(version) < FRAMEWORKS[framework]:
                continue
            processors = details.get("processors") or config.get("processors") or ["cpu"]
            bases = [each for each in details if re.fullmatch(r"pytorch[\d.]+", each)]
            options = {}
            if framework == "huggingface":
                if not bases:
                    continue
                options = {"base_framework_version": max(bases, key=lambda base: _parse_version(base[7:]))}
            registries = (details[options["base_framework_version"]] if options else details)["registries"]
            for processor in processors if framework in FRAMEWORKS else processors[:1]:
                found = {
                    region: _retrieve(framework, region, version, processor, options)
                    for region in sorted(registries)
                }
                images = {region: image.groups() for region, image in found.items() if image is not None}
                accounts = {region: image[0] for region, image in images.items()}
                for repository, tag in {image[1:] for image in images.values()}:
                    suffix = f" {processor}" if processor == "gpu" else ""
                    yield f"{framework} {version}{suffix}", repository, tag, accounts


def _parse_version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text))


def _retrieve(
    framework: str, region: str, version: str, processor: str, options: dict[str, Any]
) -> re.Match[str] | None:
    uri = image_uris.retrieve(
        framework,
        region,
        version=version,
        image_scope="inference",
        instance_type=INSTANCE_TYPES[processor],
        **options,
    )
    return _URI.fullmatch(uri)


def main() -> None:
    """Write the table."""
    account_sets: dict[str, dict[str, str]] = {}
    images = {}
    for name, repository, tag, accounts in list_images():
        key = next((key for key, known in account_sets.items() if known == accounts), None)
        if key is None:
            key = name.split()[0]
            assert key not in account_sets, key
            account_sets[key] = accounts
        assert name not in images, name
        images[name] = {"repository": repository, "tag": tag, "accounts": key}
    table = {
        "source": f"sagemaker-python-sdk {importlib.metadata.version('sagemaker')}",
        "as_of": datetime.now(UTC).date().isoformat(),
        "accounts": account_sets,
        "images": images,
    }
    text = json.dumps(table, indent=1)
    # One line an image, and one a set of accounts.
    text = re.sub(r"\{\s*([^{}]*?)\s*\}", lambda found: "{" + re.sub(r"\s*\n\s*", " ", found[1]) + "}", text)
    TARGET.write_text(text + "\n")


if __name__ == "__main__":
    main()
