"""Drills: faults that are made on purpose, to see who notices them, how soon, and what is done about them."""
