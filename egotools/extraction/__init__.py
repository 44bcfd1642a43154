"""The engine: each clip decoded once for all extractors, here or on Ray."""
