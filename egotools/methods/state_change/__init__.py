"""State changes of objects in Ego4D: whether, and at which frame."""
