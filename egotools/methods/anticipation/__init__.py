"""Long-term anticipation of Ego4D: the next actions after those observed."""
