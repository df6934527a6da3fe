"""The current of a dense synapse from spike events, at a cost that goes with their number."""
