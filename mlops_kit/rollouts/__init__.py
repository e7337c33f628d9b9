"""Live traffic becomes a verdict."""
