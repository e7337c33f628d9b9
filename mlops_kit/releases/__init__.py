"""A verdict becomes a commit."""
