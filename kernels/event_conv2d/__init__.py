"""The current of a convolutional synapse from spike events, at a cost that goes with them."""
