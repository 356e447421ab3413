"""What is wrong with a machine, a cluster or a repository on GitHub, and how it is mended."""
