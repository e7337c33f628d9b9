"""Render states as HTML: pure functions, and the one place that escapes."""
