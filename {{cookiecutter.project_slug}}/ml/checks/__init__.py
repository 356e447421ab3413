"""Checks of raw records, for those who fit on them and those who score them: rules about columns and their values."""
