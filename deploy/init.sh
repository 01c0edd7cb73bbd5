#!/usr/bin/env bash
# What must be done once before Airflow's services start, and does no harm when done again.
set -euo pipefail

airflow db migrate

# An account that exists already is left as it is, password included.
airflow users create --role Admin \
    --username "$AIRFLOW_ADMIN_USER" --password "$AIRFLOW_ADMIN_PASSWORD" \
    --email admin@localhost --firstname Batch --lastname Inference
