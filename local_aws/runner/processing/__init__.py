"""Processing jobs: inputs in, one container a host, outputs out."""
