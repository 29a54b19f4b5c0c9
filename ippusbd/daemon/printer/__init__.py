"""One printer: its sessions, what it says about itself, how it is announced."""
