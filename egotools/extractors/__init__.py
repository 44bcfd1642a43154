"""Extractors: one file an extractor or family; `names` lists them."""
