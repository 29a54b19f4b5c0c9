"""Announcing printers by DNS-SD."""
