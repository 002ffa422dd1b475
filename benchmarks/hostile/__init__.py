"""Requests that no well-meaning client sends, drawn at random: the same seed, the same requests."""
