"""Per-printer sockets handed out on demand."""
