"""Memory Storyboard: streaming self-supervised learning, with segments of time as labels."""
