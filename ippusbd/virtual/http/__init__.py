"""The virtual printer's HTTP server."""
