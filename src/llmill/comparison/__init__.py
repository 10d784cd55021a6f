"""Compare two results: what differs between them, and which difference moved a metric."""
