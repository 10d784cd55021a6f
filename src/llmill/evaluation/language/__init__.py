"""Metrics of language models: bits per byte, last words, repetition, minimal pairs."""
