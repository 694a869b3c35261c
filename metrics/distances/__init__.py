"""Distances and similarities as pure functions of features or pixels."""
