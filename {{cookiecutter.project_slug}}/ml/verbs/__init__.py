"""The command line: one module for each stretch of the flow. A verb loads only what it needs."""
