"""The door to papermill: its engine with fewer saves, and what runs a notebook by it."""
