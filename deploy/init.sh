#!/usr/bin/env bash
# Initializes Airflow before its services start; safe to repeat.
set -euo pipefail

airflow db migrate

# An existing account is not changed, nor is its password.
airflow users create --role Admin \
    --username "$AIRFLOW_ADMIN_USER" --password "$AIRFLOW_ADMIN_PASSWORD" \
    --email admin@localhost --firstname Batch --lastname Inference
