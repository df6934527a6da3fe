"""Messages of spikes over the edges of a graph, counted."""
