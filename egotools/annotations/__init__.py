"""Annotations at times, as programs for annotating write them: one file per format."""
