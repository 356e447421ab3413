"""The event log: append-only tables, written by every process that serves, read by all who judge what was served."""
