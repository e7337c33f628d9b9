"""A state becomes HTML: pure functions, and the one place that escapes."""
