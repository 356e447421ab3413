"""A small cluster on this machine, from nothing to a prediction."""
