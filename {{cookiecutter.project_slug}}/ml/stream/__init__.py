"""Keeps the online store fresh: reads events, re-keys them, folds them."""
