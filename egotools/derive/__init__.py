"""Caches made from caches."""
