"""How a bundle gets to where it runs."""
