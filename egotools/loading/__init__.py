"""Training examples, read from video by PyTorch's DataLoader."""
