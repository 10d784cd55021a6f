"""Two results beside each other: what differs between them, and which difference moved a figure."""
