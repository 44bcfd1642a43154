"""Derives caches from caches."""
