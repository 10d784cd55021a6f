"""Evaluation of trained models: log-likelihoods, classification, questions, judges, intervals."""
