"""Messages along the edges of a relational graph, aggregated as they are made."""
