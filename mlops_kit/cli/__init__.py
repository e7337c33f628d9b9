"""The command line: a command becomes calls, a value becomes lines or JSON."""
