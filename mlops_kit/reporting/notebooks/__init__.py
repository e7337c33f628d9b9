"""Make executed notebooks safe and readable in Git and in a browser."""
