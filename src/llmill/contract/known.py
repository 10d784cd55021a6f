"""Names and numbers that several rooms know."""

WORLD, NEWS = "world", "news"  # the sources that are written here, not downloaded
SOURCES = "sources.json"  # in the folder of each role: what stage `download` put there
GPT2_TOKENS = 50257
