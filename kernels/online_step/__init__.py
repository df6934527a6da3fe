"""One time step of a spiking layer as an online learning rule runs it."""
