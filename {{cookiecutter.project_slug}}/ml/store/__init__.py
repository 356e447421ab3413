"""One door to files: a directory or an object-store URL."""
