"""Notebooks that train, judge and promote a model, on one laptop and on Argo."""

__version__ = "0.1.0"
