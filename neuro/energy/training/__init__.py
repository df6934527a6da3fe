"""What learning takes by each rule, from the shapes and spikes of a network."""
