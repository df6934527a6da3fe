"""Counts times prices: what a sample costs, how sure that is, and what is not in it."""
