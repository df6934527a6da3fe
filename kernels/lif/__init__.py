"""A whole sequence of a leaky integrate-and-fire layer, forward and backward."""
