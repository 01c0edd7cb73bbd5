"""Airflow and the embedded AWS on one machine: `run`, `up` and `local-aws`."""
