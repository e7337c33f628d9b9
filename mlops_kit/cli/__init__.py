"""The command line: turn a command into calls, and a value into lines or JSON."""
