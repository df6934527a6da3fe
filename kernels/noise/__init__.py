"""Noise that a counter and a key determine: drawn again wherever it is needed, never kept."""
