"""Answers predictions over HTTP: parse, score, log; BentoML around it, and no training library."""
