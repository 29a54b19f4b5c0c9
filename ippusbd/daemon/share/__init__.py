"""Sharing printers with a network."""
