"""The repository, by git and by GitHub: what proposes, comments and tells."""
