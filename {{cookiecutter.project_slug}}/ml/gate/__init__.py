"""Decides which model may go on: champion against challenger, on the same rows, with the evidence."""
