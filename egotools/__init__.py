"""egotools: features, caches, light models and evaluation for egocentric video."""

__version__ = "0.1.0"
