"""Extractors: one file per extractor or family; `names` lists them."""
