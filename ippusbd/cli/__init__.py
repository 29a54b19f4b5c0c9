"""The commands: one function each, and the only place that prints."""
