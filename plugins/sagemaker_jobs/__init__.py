"""SageMaker jobs for Airflow that are paid for once, never run on, and say why they ended.

Subclasses of the amazon provider's operators and sensors with the same arguments. Nothing here knows of any
DAG or
project: it imports Airflow, the provider, botocore, tenacity and the standard library.
"""
