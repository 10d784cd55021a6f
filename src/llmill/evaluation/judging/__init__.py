"""Judges of answers, embedded and by server, and what they decide."""
