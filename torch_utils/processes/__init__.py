"""Processes that share a command: how they start, divide its work, and tell of it."""
