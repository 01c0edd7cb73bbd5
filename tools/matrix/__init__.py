"""`make matrix`: the wheel, the sample and the short fault suite with each Airflow that the package is for."""
