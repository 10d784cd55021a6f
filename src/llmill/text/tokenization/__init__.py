"""Between text and token ids: tokenizers, templates, shards."""
