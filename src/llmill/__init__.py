"""llmill: a reproducible pipeline that makes language models."""
