"""Intervals, tests, ratings and agreement: numbers in, figures out, with nothing of models."""
