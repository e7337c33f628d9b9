"""Executed notebooks become safe and pleasant in Git and in a browser."""
