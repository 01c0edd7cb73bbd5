"""Writes and checks the files of a project: its layout, pipeline files, and what of them follows from data."""
