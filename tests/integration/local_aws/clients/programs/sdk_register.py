"""A program of somebody who registers models with the SageMaker Python SDK 2; it leaves found.json.

`default_bucket` is named and need not exist: without it the SDK asks STS for the account at AWS's own address.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import sagemaker
from sagemaker.s3 import S3Downloader, S3Uploader

given = json.loads(sys.argv[1])
prefix, name, bucket = given["prefix"], given["name"], given["bucket"]
session = sagemaker.Session(default_bucket=bucket)
made = session.default_bucket()


def model() -> sagemaker.Model:
    return sagemaker.Model(
        image_uri=given["image"],
        model_data=given["model_data"],
        role=given["role"],
        env=given["environment"],
        sagemaker_session=session,
    )


types = {
    "content_types": ["text/csv"],
    "response_types": ["text/csv"],
    "inference_instances": [given["instance"]],
    "transform_instances": [given["instance"]],
}
alone = model().register(model_package_name=name, **types)
first, second = (
    model().register(
        model_package_group_name=f"{name}-group",
        approval_status=status,
        **types,
    )
    for status in (None, "Approved")
)
transformer = sagemaker.ModelPackage(
    role=given["role"], model_package_arn=alone.model_package_arn, sagemaker_session=session
).transformer(
    instance_count=1,
    instance_type=given["instance"],
    strategy="MultiRecord",
    assemble_with="Line",
    accept="text/csv",
)
S3Uploader.upload(given["input"], prefix + "in", sagemaker_session=session)
transformer.transform(
    prefix + "in/", content_type="text/csv", split_type="Line", job_name=name, wait=True, logs=False
)
[group] = session.search(
    resource="ModelPackageGroup",
    search_expression={"Filters": [{"Name": "ModelPackageGroupName", "Value": f"{name}-group"}]},
)["Results"]
found = {
    "made": made,
    "alone": alone.model_package_arn,
    "versions": [each.model_package_arn for each in (first, second)],
    "outputs": sorted(S3Downloader.list(transformer.output_path, sagemaker_session=session)),
    "group": group["ModelPackageGroup"]["ModelPackageGroupName"],
}
Path("found.json").write_text(json.dumps(found))
