"""Encoders in the format of Hugging Face's Transformers: `hf:NAME-OR-FOLDER`."""
