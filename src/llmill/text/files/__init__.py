"""Users' text files: endings, encodings, compression, forms."""
