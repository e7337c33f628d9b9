"""A model's table: its declaration, and reading, checking and splitting by it."""
