"""Users, groups, passwords, and which of them a client is."""
