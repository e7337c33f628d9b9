"""A pipeline becomes executed notebooks."""
