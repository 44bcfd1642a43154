"""RepLAI: audio-visual self-supervision from moments of interaction."""
