"""Persistent state: jobs, models, registry and tags in sqlite; moto's backends in a pickle."""
