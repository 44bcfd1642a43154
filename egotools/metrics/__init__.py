"""Scores and errors, as functions of arrays."""
