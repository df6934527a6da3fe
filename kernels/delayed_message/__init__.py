"""Spikes that travel over the edges of a graph with delays, for T steps, forward and backward."""
