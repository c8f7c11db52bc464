"""Training: the loop, one step of it, and everything that a run leaves behind."""
