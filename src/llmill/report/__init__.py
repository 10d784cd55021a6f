"""The report: reads what every stage left, draws it, and writes one page with everything in it."""
