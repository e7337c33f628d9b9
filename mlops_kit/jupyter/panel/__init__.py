"""The promotion panel: what serves, what could, and the acts of a person."""
