"""What a model makes of texts, many at a time: log-likelihoods, outputs of heads, continuations."""
