"""From frames to what a network takes."""
