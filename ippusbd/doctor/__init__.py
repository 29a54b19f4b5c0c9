"""What is wrong on this machine, in plain words."""
