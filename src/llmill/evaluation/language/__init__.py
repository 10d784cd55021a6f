"""Figures of a model's own language: bits per byte, last words, repetition, minimal pairs."""
