"""Run a pipeline as executed notebooks."""
