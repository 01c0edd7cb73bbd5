"""The Batch inference pages in Airflow's UI: a read-only FastAPI app and its templates."""
