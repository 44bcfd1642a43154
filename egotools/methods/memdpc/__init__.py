"""MemDPC: memory-augmented dense predictive coding, trained from video."""
