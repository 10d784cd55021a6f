"""Compare answers with references by rule: exact match, numbers, ROUGE-L."""
