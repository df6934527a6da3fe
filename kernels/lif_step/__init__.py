"""One forward time step of a leaky integrate-and-fire layer."""
