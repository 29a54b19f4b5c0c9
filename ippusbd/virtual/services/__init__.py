"""What the virtual printer does: print, scan, fax, console."""
