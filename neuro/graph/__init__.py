"""Reasoning over graphs of relations."""
