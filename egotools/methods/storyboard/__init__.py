"""Memory Storyboard: one long stream learned from once, with memories of the recent and of the whole past."""
