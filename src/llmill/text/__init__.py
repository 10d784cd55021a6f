"""Raw text on its way to the model: fetched, cleaned, split, tokenized, stored in shards."""
