"""A program of somebody who uses the SageMaker Python SDK 2 for processing; it leaves found.json.

The bucket is named: the SDK would ask STS for the account at an address of its own, whatever AWS_ENDPOINT_URL says
(sagemaker.session.generate_default_sagemaker_bucket_name).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import sagemaker
from sagemaker.exceptions import UnexpectedStatusException
from sagemaker.processing import ProcessingInput, ProcessingOutput, Processor, ScriptProcessor
from sagemaker.s3 import S3Downloader

given = json.loads(sys.argv[1])
session = sagemaker.Session(default_bucket=given["bucket"])

scripts = ScriptProcessor(
    image_uri=given["image"],
    command=["python3"],
    role=given["role"],
    instance_count=1,
    instance_type=given["instance"],
    env={"UNIT": "records"},
    sagemaker_session=session,
)
scripts.run(
    code=given["code"],
    inputs=[ProcessingInput(source=given["input"], destination="/opt/ml/processing/input")],
    outputs=[ProcessingOutput(source="/opt/ml/processing/output", output_name="counts")],
    job_name=given["name"],
    wait=True,
    logs=True,
)
described = scripts.latest_job.describe()
output_uri = described["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"]

failing = Processor(
    image_uri=given["image"],
    role=given["role"],
    instance_count=2,
    instance_type=given["instance"],
    entrypoint=["python3", "-c", "raise SystemExit(3)"],
    sagemaker_session=session,
)
try:
    failing.run(job_name=given["name"] + "-bad", wait=True, logs=False)
    failure = None
except UnexpectedStatusException as error:
    failure = [error.actual_status, str(error)]
found = {
    "status": described["ProcessingJobStatus"],
    "output_uri": output_uri,
    "counts": S3Downloader.read_file(output_uri + "/counts.txt", sagemaker_session=session),
    "failure": failure,
}
Path("found.json").write_text(json.dumps(found))
