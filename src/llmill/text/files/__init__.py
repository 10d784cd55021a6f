"""Files of text as people have them: endings, encodings, packings, forms."""
