"""View-invariance pre-training of two synchronised streams."""
