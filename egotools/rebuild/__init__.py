"""What of a cache still holds, and making the rest again."""
