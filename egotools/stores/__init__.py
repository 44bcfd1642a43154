"""Caches on disk: clip id -> rows and times, with the recipe that made them; LMDB (live) and HDF5 (sealed)."""

from egotools.stores.opening import open_store, open_writer
from egotools.stores.source import Source
from egotools.stores.store import Recipe, Store, Writer, check_same_recipe

__all__ = ["Recipe", "Source", "Store", "Writer", "check_same_recipe", "open_store", "open_writer"]
