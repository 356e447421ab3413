"""YOURS: all that is particular to this problem, and nothing else."""
