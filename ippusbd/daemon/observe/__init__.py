"""What the daemon tells: status, endpoints, metrics, page, trace."""
