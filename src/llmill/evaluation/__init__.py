"""Measuring finished models: statistics with intervals, likelihoods, classification, questions, and judges."""
