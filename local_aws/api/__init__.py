"""Serves the AWS APIs: SageMaker and Service Quotas by handlers, other services by moto."""
