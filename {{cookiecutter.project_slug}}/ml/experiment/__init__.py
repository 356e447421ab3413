"""Analyses experiments on what is served; reads what was logged, and knows neither who assigned nor who served."""
