"""The table of the model "fraud": card transactions, of which 1 in `Class` is fraud."""

from mlops_kit.examples.fraud.table import TABLE

__all__ = ["TABLE"]
