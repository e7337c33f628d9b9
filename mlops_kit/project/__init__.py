"""A project: its settings, and everything that they name, opened and handed to the cores."""
