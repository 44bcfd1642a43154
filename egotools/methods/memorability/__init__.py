"""M3-S: how well a video is remembered, from cached features."""
