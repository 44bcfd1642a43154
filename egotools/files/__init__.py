"""Writing a file whole or not at all; CSV, JSON and NumPy files."""
