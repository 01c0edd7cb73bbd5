"""Batch Transform: objects to requests, requests to the model's containers, responses to output objects."""
