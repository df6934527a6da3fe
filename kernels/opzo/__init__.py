"""Feedback matrices and the noise they are estimated from, drawn again tile by tile."""
