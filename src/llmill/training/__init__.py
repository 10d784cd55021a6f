"""Training: the loop, with its schedule, optimizer, losses and batches, and how it resumes."""
