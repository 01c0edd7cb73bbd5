"""Airflow and the embedded AWS on one machine: `make run` and `make up`."""
