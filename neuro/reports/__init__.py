"""What is found out about runs once they are there."""
