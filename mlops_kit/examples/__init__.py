"""What a user of the library would write: an example's data, and load for a server."""
