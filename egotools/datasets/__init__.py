"""Annotations of published datasets as clips; one file a format."""
