"""Runs a stage, from above: parameters, locks, scratch folders, tracking, processes, stopping."""
