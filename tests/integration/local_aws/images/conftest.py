"""The images are tested in jobs of the runner's harness."""

from tests.integration.local_aws.runner.conftest import aws, moto_url

__all__ = ["aws", "moto_url"]
