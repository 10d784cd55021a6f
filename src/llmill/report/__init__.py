"""The report: read the results of all stages, draw figures, and write one self-contained page."""
