"""What is estimated from the statistics of a pass, and what it maximizes."""
