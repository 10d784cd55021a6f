"""Training: the one loop, its schedule, optimizer, losses, batches, and the state it resumes from."""
