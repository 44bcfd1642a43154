"""Reports: what caches, runs and results of evaluations are, as one page."""
