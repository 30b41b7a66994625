"""What submissions ask for and cost, whether a cluster can run them, and whose turn it is."""
