"""Training: the one loop, its schedule, optimizer, losses, batches, and resuming."""
