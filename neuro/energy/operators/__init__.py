"""What any torch module does: counted operator by operator, as torch dispatches them."""
