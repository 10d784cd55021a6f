"""The kinds of files with rows, by the end of their names."""

ROWS = (".json", ".jsonl", ".ndjson", ".parquet")  # each row a value, usually an object
DELIMITERS = {".csv": ",", ".tsv": "\t", ".tab": "\t", ".txt": "\t"}  # of tables for classification
TABLES = (*DELIMITERS, *ROWS)
CELLS = (".csv", ".tsv")  # of questions; their delimiter is found in the file
QUESTIONS = (*CELLS, *ROWS)
