"""Watches what was served against what was trained on; reads bundle and events, and never the trainer or the server."""
