"""What moves a release: evidence, one step at a time, by a change that people can read; and the way back."""
