"""The data plane of the embedded AWS: one process that runs one SageMaker job.

`python -m local_aws.runner SPEC.json` reads what to run, writes its events to standard output as
JSON lines, and reaches S3 and CloudWatch Logs through boto3 only.
"""
