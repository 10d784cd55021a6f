"""Batched inference: log-likelihoods, outputs of heads, and continuations."""
