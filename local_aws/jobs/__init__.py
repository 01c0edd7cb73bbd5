"""Runs jobs: one thread and one runner process each, from provisioning to the last event."""
