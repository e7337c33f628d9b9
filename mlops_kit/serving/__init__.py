"""A release answers requests."""
