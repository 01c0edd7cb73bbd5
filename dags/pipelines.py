"""The DAG of each pipeline file below `include/pipelines`.

Airflow shows a wrong file as an import error of its own; the others have their DAGs.
"""

from batch_inference import pipeline_dags

globals().update(pipeline_dags("../include/pipelines"))
