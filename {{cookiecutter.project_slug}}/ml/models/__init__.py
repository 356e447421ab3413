"""What a rung of the ladder may be made of: estimators of ours, wrappers, and what is searched."""
