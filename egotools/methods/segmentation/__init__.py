"""Temporal segmentation: a class for every moment of a video."""
