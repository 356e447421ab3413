"""Joins what was predicted with what came of it; reads the event log, and knows neither who wrote it nor who judges."""
