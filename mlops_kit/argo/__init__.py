"""Run a pipeline on Argo Workflows."""
