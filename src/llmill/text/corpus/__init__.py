"""From documents to a corpus: passages, duplicates, contamination, mixture, parquet."""
