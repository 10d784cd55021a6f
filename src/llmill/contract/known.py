"""Names and numbers that several rooms know."""

WORLD, NEWS = "world", "news"  # the sources that are written here, not downloaded
GPT2_TOKENS = 50257
