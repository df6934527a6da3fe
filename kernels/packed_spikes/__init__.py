"""Spikes as bits: one eighth of a byte each."""
