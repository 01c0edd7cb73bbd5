"""Operators, sensors and triggers for SageMaker jobs: each job is submitted once, stopped with its task, and explained.

Subclasses of the amazon provider's operators and sensors with the same arguments. Independent of any DAG or
project: imports only Airflow, the provider, botocore, tenacity and the standard library.
"""
