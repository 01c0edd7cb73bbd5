"""What outlives a restart: jobs, models, registry and tags in sqlite; moto's S3, IAM, STS and Logs in pickles."""
