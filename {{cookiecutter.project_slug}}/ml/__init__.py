"""From raw data to a monitored prediction: one package, one folder a concern."""
