"""The functions of the DAG's Python tasks."""
