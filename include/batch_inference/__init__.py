"""Batch inference on SageMaker: pipeline files, plans, and the DAGs that run them.

Python 3.8 and without imports: it travels into SageMaker's containers together with `batch_inference.jobs`.
"""
