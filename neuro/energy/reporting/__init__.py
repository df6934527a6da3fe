"""What was counted and priced, as one record, and for people."""
