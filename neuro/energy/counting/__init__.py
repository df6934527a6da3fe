"""What a network, or the integers made of it, does: counted while it runs, layer by layer."""
