"""A program of somebody who uses the SageMaker Python SDK 2 for batch transform; it leaves found.json."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import sagemaker
from sagemaker.exceptions import UnexpectedStatusException
from sagemaker.s3 import S3Downloader, S3Uploader
from sagemaker.transformer import Transformer

given = json.loads(sys.argv[1])
prefix, name = given["prefix"], given["name"]
session = sagemaker.Session(default_bucket=prefix.split("/")[2])

model = sagemaker.Model(
    image_uri=given["image"],
    model_data=given["model_data"],
    role=given["role"],
    env=given["environment"],
    name=name,
    sagemaker_session=session,
)
transformer = model.transformer(
    instance_count=1,
    instance_type=given["instance"],
    strategy="MultiRecord",
    assemble_with="Line",
    accept="text/csv",
    output_path=prefix + "out/",
    max_concurrent_transforms=2,
    max_payload=1,
)
S3Uploader.upload(given["input"], prefix + "in", sagemaker_session=session)
transformer.transform(
    prefix + "in/", content_type="text/csv", split_type="Line", job_name=name, wait=True, logs=True
)
read = {
    uri.removeprefix(prefix): S3Downloader.read_file(uri, sagemaker_session=session)
    for uri in S3Downloader.list(prefix + "out/", sagemaker_session=session)
}

attached = Transformer.attach(name, sagemaker_session=session)
attached.output_path = prefix + "bad-out/"
S3Uploader.upload_string_as_file_body("1\nbad\n", prefix + "bad/a.csv", sagemaker_session=session)
try:
    attached.transform(
        prefix + "bad/",
        content_type="text/csv",
        split_type="Line",
        job_name=name + "-bad",
        wait=True,
        logs=False,
    )
    failure = None
except UnexpectedStatusException as error:
    failure = [error.actual_status, str(error)]

S3Uploader.upload_string_as_file_body("slow\n", prefix + "slow/a.csv", sagemaker_session=session)
attached.transform(
    prefix + "slow/", content_type="text/csv", split_type="Line", job_name=name + "-slow", wait=False
)
session.stop_transform_job(name + "-slow")
stopped = session.wait_for_transform_job(name + "-slow")["TransformJobStatus"]
attached.delete_model()
found = {
    "output_path": transformer.output_path,
    "attached": [attached.model_name, attached.strategy, attached.accept, attached.max_payload],
    "outputs": read,
    "failure": failure,
    "stopped": stopped,
}
Path("found.json").write_text(json.dumps(found))
