"""`make iam PIPELINE=abalone`: the IAM policies that a pipeline needs, as JSON."""

from __future__ import annotations

import argparse
import json
import re
import sys

from batch_inference.common.errors import BatchInferenceError
from batch_inference.common.s3_uri import is_s3_uri
from batch_inference.config.pipeline import load_pipeline
from batch_inference.config.pipeline_files import PIPELINES_FOLDER
from batch_inference.requests.iam import build_policies, build_role_request

REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")


def parse_s3_uri(text: str) -> str:
    """An S3 URI from the command line."""
    if not is_s3_uri(text):
        raise argparse.ArgumentTypeError(f"found {text!r}; an S3 URI looks like s3://bucket/prefix/")
    return text


def parse_region(text: str) -> str:
    """A region from the command line."""
    if REGION.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(f"found {text!r}; a region looks like eu-central-1")
    return text


def main(arguments: list[str] | None = None) -> int:
    """Print the documents; the exit status."""
    parser = argparse.ArgumentParser(prog="make iam", description=__doc__)
    known = sorted(path.stem for path in PIPELINES_FOLDER.glob("*.yaml"))
    parser.add_argument("pipeline", choices=known, metavar="PIPELINE", help=f"one of: {', '.join(known)}")
    parser.add_argument(
        "--role",
        choices=("airflow", "sagemaker", "sagemaker_trust", "sagemaker_role", "janitor"),
        help="print only this document",
    )
    parser.add_argument(
        "--region",
        type=parse_region,
        help="region of the jobs; default: the pipeline's, or that of its images",
    )
    for option, convert, text in (
        ("--input", parse_s3_uri, "an additional input URI that manual runs may use"),
        ("--output", parse_s3_uri, "an additional output URI that manual runs may use"),
        ("--image", str, "a container image of the model package versions in the registry"),
        ("--model-data", parse_s3_uri, "a prefix of artefacts of the model package versions in the registry"),
    ):
        parser.add_argument(
            option, type=convert, action="append", default=[], metavar="URI", help=f"{text}; repeatable"
        )
    namespace = parser.parse_args(arguments)
    try:
        pipeline = load_pipeline(PIPELINES_FOLDER / f"{namespace.pipeline}.yaml")
        documents = build_policies(
            pipeline,
            region=namespace.region,
            inputs=namespace.input,
            outputs=namespace.output,
            images=namespace.image,
            model_data=namespace.model_data,
        )
        documents["sagemaker_role"] = build_role_request(pipeline, documents["sagemaker_trust"])
    except BatchInferenceError as error:
        print(f"make iam: {error}", file=sys.stderr)
        return 1
    print(json.dumps(documents[namespace.role] if namespace.role else documents, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
