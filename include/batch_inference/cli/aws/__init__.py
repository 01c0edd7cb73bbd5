"""Commands that read or prepare an AWS account."""
