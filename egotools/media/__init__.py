"""Frames and audio of a file, by index or time."""
