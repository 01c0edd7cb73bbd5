"""`make iam PIPELINE=abalone`: the IAM policies that a pipeline needs, as JSON."""

from __future__ import annotations

import argparse
import json
import re
import sys

from include.orchestration.pipelines import FOLDER
from include.scoring.config import load_pipeline
from include.scoring.errors import ScoringError
from include.scoring.policies import policies, role_request
from include.scoring.s3uri import is_uri

REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")


def s3_uri(text: str) -> str:
    """An S3 URI from the command line."""
    if not is_uri(text):
        raise argparse.ArgumentTypeError(f"found {text!r}; an S3 URI looks like s3://bucket/prefix/")
    return text


def region(text: str) -> str:
    """A region from the command line."""
    if REGION.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(f"found {text!r}; a region looks like eu-central-1")
    return text


def main(arguments: list[str] | None = None) -> int:
    """Print the documents; the exit status."""
    parser = argparse.ArgumentParser(prog="make iam", description=__doc__)
    known = sorted(path.stem for path in FOLDER.glob("*.yaml"))
    parser.add_argument("pipeline", choices=known, metavar="PIPELINE", help=f"one of: {', '.join(known)}")
    parser.add_argument(
        "--role",
        choices=("airflow", "sagemaker", "sagemaker_trust", "sagemaker_role", "janitor"),
        help="print this document alone",
    )
    parser.add_argument(
        "--region", type=region, help="where the jobs run; default: the pipeline's, or its images'"
    )
    more = "that runs by hand may name as well; repeatable"
    parser.add_argument("--input", type=s3_uri, action="append", default=[], help=f"an input {more}")
    parser.add_argument("--output", type=s3_uri, action="append", default=[], help=f"an output {more}")
    versions = "of the versions of a model in the registry; repeatable"
    parser.add_argument(
        "--image", action="append", default=[], metavar="URI", help=f"a container image {versions}"
    )
    parser.add_argument(
        "--model-data", type=s3_uri, action="append", default=[], help=f"a prefix of artefacts {versions}"
    )
    asked = parser.parse_args(arguments)
    try:
        pipeline = load_pipeline(FOLDER / f"{asked.pipeline}.yaml")
        documents = policies(
            pipeline,
            region=asked.region,
            inputs=asked.input,
            outputs=asked.output,
            images=asked.image,
            model_data=asked.model_data,
        )
        documents["sagemaker_role"] = role_request(pipeline, documents["sagemaker_trust"])
    except ScoringError as error:
        print(f"make iam: {error}", file=sys.stderr)
        return 1
    print(json.dumps(documents[asked.role] if asked.role else documents, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
