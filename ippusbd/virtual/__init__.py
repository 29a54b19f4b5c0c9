"""A multifunction printer made of software, seen from its USB plug."""
