"""What single devices need different, from typed TOML files."""
