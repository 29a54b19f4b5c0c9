"""How connections are accepted, and how many."""
