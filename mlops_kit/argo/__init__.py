"""The same pipeline on Argo Workflows."""
