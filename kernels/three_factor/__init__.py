"""Error fed back times the surrogate's factor, and the weight gradient it makes with the trace."""
