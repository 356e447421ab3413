"""What was judged, signed: so that what is deployed is proved by more than its name."""
