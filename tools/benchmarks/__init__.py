"""The `make bench-…` targets."""
