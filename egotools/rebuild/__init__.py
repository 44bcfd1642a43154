"""Finds what is stale in caches and rebuilds it."""
