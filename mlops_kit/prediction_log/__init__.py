"""Predictions and their labels: written by the server, read by a rollout."""
