"""The state file, and what is imported into it."""
