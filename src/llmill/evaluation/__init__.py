"""Measuring finished models: intervals, likelihoods, classification, questions, and judges."""
