"""Intervals, tests, ratings and agreement. The functions take numbers, not models."""
