"""Decoding of audio."""
