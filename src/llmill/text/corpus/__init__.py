"""From documents to a corpus: passages, repeats, contamination, mixture, parquet."""
