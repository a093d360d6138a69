"""What is tried and what counts as found."""
